#!/bin/sh
# Undo plant.sh.
pkill -f /root/hostile-registry
pkill -f /root/hostile-loop.sh
pkill -f /var/lib/sickbay/agent-
rm -f /tmp/pwned* /root/hostile-* /etc/systemd/system/kubelet.service.d/99-hostile.conf /etc/cni/net.d/00-*pwned-file* /etc/cni/net.d/*pwned-file*
for a in /var/lib/sickbay/agent-*; do [ "$(head -c 2 "$a")" != '#!' ] || rm -f "$a"; done
systemctl daemon-reload
systemctl restart kubelet.service
true
