#!/bin/sh
# CNI plugin: a port on a Linux bridge for every pod, with an address from its IPAM plugin. The bridge itself is there already.
set -eu
conf=$(cat)
field() { printf '%s' "$conf" | jq -r "$1"; }
fail() {
  jq -n --arg v "$(field .cniVersion)" --arg m "$1" '{cniVersion: $v, code: 100, msg: $m}'
  exit 1
}
ipam() { printf '%s' "$conf" | "${CNI_PATH%%:*}/$(field .ipam.type)"; }

case $CNI_COMMAND in
VERSION)
  echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}'
  exit
  ;;
ADD | DEL) ;;
*) exit ;;
esac

# Interface names have at most 15 characters.
port=veth$(printf %.11s "$CNI_CONTAINERID")

if [ "$CNI_COMMAND" = DEL ]; then
  ip link delete "$port" 2>/dev/null || true
  ipam
  exit
fi

inside() { nsenter --net="$CNI_NETNS" ip "$@"; }
leased=$(ipam) || { printf '%s' "$leased"; exit 1; }
address=$(printf '%s' "$leased" | jq -r '.ips[0].address')
gateway=$(printf '%s' "$leased" | jq -r '.ips[0].gateway')
plug() {
  inside link add "$CNI_IFNAME" type veth peer name "$port" netns 1 &&
    ip link set "$port" master "$(field .bridge)" up &&
    ip link set "$port" type bridge_slave hairpin on &&
    inside address add "$address" dev "$CNI_IFNAME" &&
    inside link set "$CNI_IFNAME" up &&
    inside route add default via "$gateway"
}
why=$(plug 2>&1) || {
  ip link delete "$port" 2>/dev/null || true
  CNI_COMMAND=DEL
  ipam >/dev/null || true
  fail "bridge $(field .bridge): $why"
}
printf '%s' "$leased" | jq --arg v "$(field .cniVersion)" --arg name "$CNI_IFNAME" --arg netns "$CNI_NETNS" \
  '{cniVersion: $v, interfaces: [{name: $name, sandbox: $netns}], ips: [.ips[] + {interface: 0}], routes: .routes, dns: {}}'
