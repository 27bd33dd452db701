package redact

import (
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// A pass phrase of letters alone looks like any word: its key, its place on a command line or the format around it tell it.
var phrases = map[string][]string{
	"a line of a log": {
		`Login with password: swordfish was refused`,
		`using passphrase: swordfish for the volume`,
		`passwd: swordfish, next time it is asked again`,
		`the administrator's password is swordfish`,
		`changed password to "swordfish" for user app`,
		`password "swordfish" rejected for user app`,
		`password 'swordfish' does not match`,
		`ALTER USER app IDENTIFIED BY 'swordfish'`,
		`CREATE ROLE app WITH LOGIN PASSWORD 'swordfish'`,
		`SELECT PASSWORD('swordfish')`,
		`>> <password>swordfish</password>`,
		`<Secret type="x">swordfish</Secret>`,
		`Authorization: Bearer swordfish`,
		`header X-Api-Key: swordfish sent to api.example.test`,
		`> x-auth-token: swordfish`,
		`- {name: DB_PASSWORD, value: swordfish}`,
		`env name="DB_PASSWORD" value="swordfish"`,
		`["--db-password","swordfish","--v"]`,
		`["--db-password", "swordfish"]`,
		`map[password:swordfish user:app]`,
		`{Password:swordfish User:app}`,
		`AUTH swordfish`,
		`requirepass swordfish`,
		`masterauth swordfish`,
		`rocommunity swordfish`,
		`psk=swordfish`,
		`sudo: pam: password (swordfish) too simple`,
	},
	"a command line": {
		"htpasswd -bB /etc/users app swordfish",
		"wget --http-password swordfish https://r.test",
		"curl -H X-Api-Key:swordfish https://r.test",
		"curl --user app:swordfish https://r.test",
		"curl -sSfuapp:swordfish https://r.test",
		"lftp -u app,swordfish r.test",
		"smbclient //srv/x -U app%swordfish",
		"ipmitool -I lanplus -U admin -P swordfish power status",
		"snmpget -v3 -u app -A swordfish -X swordfish host",
		"snmpwalk -v2c -c swordfish host",
		"unzip -P swordfish a.zip",
		"7z x -pswordfish a.7z",
		"sqlcmd -U sa -P swordfish",
		"sqlplus app/swordfish@db",
		"rabbitmqctl add_user app swordfish",
		"rabbitmqctl change_password app swordfish",
		"vault login swordfish",
		"keytool -list -storepass swordfish",
		"keytool -list -keypass swordfish",
		"wpa_passphrase home swordfish",
		"nmcli device wifi connect home password swordfish",
		"useradd -p swordfish app",
		"mc alias set s3 https://s3.test app swordfish",
		"mongosh -u app -p swordfish",
		"cqlsh -u app -p swordfish",
		"sh -c echo swordfish | docker login -u app --password-stdin r.test",
		"sh -c echo swordfish | sudo -S id",
		"sh -c echo app:swordfish | chpasswd",
		"sh -c printf %s swordfish | cryptsetup open /dev/sdb x -",
		"gpg --batch --passphrase swordfish -d x",
		"openssl enc -aes256 -k swordfish",
		"openssl rsa -passin pass:swordfish",
		"redis-server --requirepass swordfish",
		"kadmin -w swordfish -q listprincs",
		"xfreerdp /u:app /p:swordfish /v:host",
		"borg init --encryption repokey BORG_PASSPHRASE=swordfish",
		"kubectl create secret generic x --from-literal=word=swordfish",
	},
}

func TestPhrasesOfLetters(t *testing.T) {
	for kind, plants := range phrases {
		for _, in := range plants {
			outs := []string{Text(in)}
			if kind == "a command line" {
				argv := strings.Fields(in)
				if script, ok := strings.CutPrefix(in, "sh -c "); ok {
					argv = []string{"sh", "-c", script}
				}
				outs = []string{Command(in), strings.Join(Args(argv), " ")}
			}
			for _, out := range outs {
				if strings.Contains(out, "swordfish") || !strings.Contains(out, Mark) {
					t.Errorf("%s:\n %s\n %s", kind, in, out)
				}
			}
		}
	}
	// An element of YAML over two lines, as an agent prints its environment.
	lines := []v1alpha1.LogLine{{Text: "  - name: DB_PASSWORD"}, {Text: "    value: swordfish"}, {Text: "  - name: COLOUR"}, {Text: "    value: green"}}
	Lines(lines)
	if lines[1].Text != "    value: "+Mark || lines[3].Text != "    value: green" {
		t.Errorf("%+v", lines)
	}
}

// What looks like it and is none: the words of errors, options that take something else.
func TestWordsBesideNames(t *testing.T) {
	for _, s := range []string{
		`unauthorized: incorrect username or password`,
		`invalid password: authentication failed for user app`,
		`password: must not be empty`,
		`the password is wrong, or the password is required`,
		`password "" rejected`,
		`Using password: YES`,
		`failed to read password: permission denied`,
		`failed to read password: open /etc/pw: permission denied`,
		`the token is expired; the password has expired`,
		`no basic auth credentials; want Bearer token`,
		`failed to authorize: failed to fetch anonymous token: unexpected status`,
		`secret "registry-credentials" not found`,
		`references non-existent secret key: tls.crt`,
		`IDENTIFIED BY PASSWORD expected`,
		`- {name: COLOUR, value: green}`,
		`<password/> <secret></secret>`,
		`pam_unix(sshd:auth): authentication failure; AUTH failed`,
		`name="PATH" value="/usr/bin"`,
		`map[namespace:default pod:web]`,
	} {
		if got := Text(s); got != s {
			t.Errorf("changed\n  %s\nto\n  %s", s, got)
		}
	}
	for _, s := range []string{
		"mkdir -p /var/lib/kubelet/pods", "tar -czf backup.tgz etc", "ssh -p 22 host", "curl -H Accept:text/plain https://r.test", "journalctl -u kubelet -f", "cp -a etc backup",
		"containerd-shim-runc-v2 -namespace k8s.io -id web -address /run/containerd/containerd.sock", "sh -c echo ready | tee log", "useradd -m app", "grep -c warning log",
		"ipmitool -U admin power status", "vault status", "mc ls s3", "sh -c echo ready | sudo tee log", "mount -o remount /", "iptables -A FORWARD -P tcp", "sort -k name", "nc -X connect proxy",
	} {
		if got := Command(s); got != s {
			t.Errorf("changed\n  %s\nto\n  %s", s, got)
		}
	}
}
