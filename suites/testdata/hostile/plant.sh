#!/bin/sh
# What an attacker with root on the node leaves there. Undone by clean.sh.
set -eu
esc=$(printf '\033')
rlo=$(printf '\342\200\256')
mkdir -p /etc/systemd/system/kubelet.service.d
cat > /root/hostile-lines.sh <<EOF
#!/bin/sh
echo 'E1129 10:00:00.000000 1 pod_workers.go:1 "Error syncing pod" err="failed to pull image \\"127.0.0.1:5443/a\$(touch /tmp/pwned-journal):1\\": x509: https://b\$(touch /tmp/pwned-journal2).localhost:5443 certificate signed by unknown authority"'
echo 'E1129 10:00:00.000000 1 kubelet.go:1 "${esc}[2K${esc}]0;owned ${rlo} <script>alert(1)</script> password=hostile-secret-one token: hostile-secret-two"'
echo '-----BEGIN RSA PRIVATE KEY-----'
echo 'hostileSecretThreeMIIEowIBAAKCAQEAhostileSecretThree0000000000000000000000'
echo '-----END RSA PRIVATE KEY-----'
EOF
chmod 0755 /root/hostile-lines.sh
printf '[Service]\nExecStartPre=/root/hostile-lines.sh\n' > /etc/systemd/system/kubelet.service.d/99-hostile.conf
# A configuration that containerd takes first, by its name, and cannot read.
# shellcheck disable=SC2016 # a command in single quotes is the attack: whoever reads the file must not run it
printf '{"cniVersion":"1.0.0","name":"--help","plugins":[{"type":"$(touch /tmp/pwned-cni)%s[2K"}]}' "$esc" > "/etc/cni/net.d/00-'\$(touch \$IFS\$9pwned-file)'${esc}[2K
-x.conflist"
systemctl daemon-reload
systemctl restart kubelet.service
setsid /root/hostile-registry > /dev/null 2>&1 < /dev/null &
# Wherever an agent is put, a program of the attacker's own takes its place at once.
if [ "${1:-}" = agent ]; then
	cat > /root/hostile-agent <<EOF
#!/bin/sh
printf '${esc}]0;owned${esc}[2K {"apiVersion":"x"}\n'
echo '[{},{},{' ; yes '{"a":"\$(touch /tmp/pwned-agent)"},' | head -c 100000000
sleep 600
EOF
	chmod 0755 /root/hostile-agent
	cat > /root/hostile-loop.sh <<'EOF'
#!/bin/sh
n=0
while [ $n -lt 6000 ]; do
	for a in /var/lib/sickbay/agent-*; do
		case $a in *.sickbay-*|*'*') continue ;; esac
		if [ "$(head -c 2 "$a")" != '#!' ]; then
			size=$(stat -c %s "$a")
			cp /root/hostile-agent /root/hostile-now && truncate -s "$size" /root/hostile-now && mv /root/hostile-now "$a"
		fi
	done
	n=$((n+1)); sleep 0.1
done
EOF
	setsid sh /root/hostile-loop.sh > /dev/null 2>&1 < /dev/null &
fi
