#!/bin/sh
# A detector in shell. It greps what kubectl and each node's journal say for the words of nine failures:
#   sickbay suite --detector exec:suites/detector/examples/shell/detect.sh
set -u
cat >/dev/null # the request: what this needs of it is in the environment too
since=@$(date -d "$SICKBAY_SINCE" +%s)
findings=

conditions='{range .status.conditions[*]}condition {.type}={.status} {.message}{"\n"}{end}'
for node in $SICKBAY_NODES; do
  # A condition is a present state; the journal is read from the beginning of the run.
  seen=$(kubectl get node "$node" --request-timeout=5s -o "jsonpath=$conditions" 2>/dev/null
    timeout 8 docker exec "$node" journalctl -q --no-pager -o cat --since "$since" -u kubelet -u containerd 2>/dev/null)
  while read -r failure cause words; do
    line=$(printf '%s\n' "$seen" | grep -m1 -E "$words" | cut -c1-160 | tr -d '"\\\000-\037') || continue
    [ -n "$line" ] || continue
    findings="$findings${findings:+,}{\"failure\":\"$failure\",\"cause\":\"$cause\",\"node\":\"$node\",\"summary\":\"$line\"}"
  done <<'RULES'
cni            conflist-missing   cni plugin not initialized
swap           swap-on            running with swap on is not supported
cgroup-driver  driver-mismatch    expected cgroupsPath to be of format
node-notready  kubeconfig-broken  failed to run Kubelet.*kubeconfig
clock-cert     clock-skew         certificate has expired or is not yet valid
image-pull     registry-tls       PullImage.*x509: certificate signed by unknown authority
sandbox-create shim-missing       failed to start shim.*containerd-shim-runc-v2
disk-pressure  nodefs-full        condition DiskPressure=True
pleg           runtime-hung       condition Ready=False.*PLEG is not healthy
RULES
done
printf '{"findings":[%s]}\n' "$findings"
