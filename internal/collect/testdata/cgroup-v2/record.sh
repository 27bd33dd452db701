#!/bin/sh
# Writes the files of this directory as a kernel with cgroup v2 alone has them, as a tar archive: of a container with 20m of CPU that
# wants more (throttled), of another that is paused (frozen), of a pod whose container is killed at its limit again and again (killed:
# the container's own cgroup goes with it, the pod's counts on), and of the cgroup of all pods (kubepods).
#
#	bin/sickbay vm shell -- sh -s <agent/collect/testdata/cgroup-v2/record.sh | tar -x -C agent/collect/testdata/cgroup-v2
set -eu
cluster=${1:-sickbay}
node=$cluster-worker
# Without a here-document behind it docker must not have the standard input: that is this script.
kubectl() { docker exec "$cluster-control-plane" kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
on() { docker exec "$node" "$@"; }
paused=
trap '[ -z "$paused" ] || on ctr -n k8s.io task resume "$paused"; kubectl delete pod -n default throttled killed --now >&2' EXIT

image=$(on ctr -n k8s.io images ls -q | grep -m 1 '/agnhost:[^@]*$')
docker exec -i "$cluster-control-plane" kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - >&2 <<POD
apiVersion: v1
kind: Pod
metadata: {name: throttled, namespace: default}
spec:
  nodeName: $node
  terminationGracePeriodSeconds: 1
  containers:
    - {name: throttled, image: $image, command: [sh, -c, "while :; do :; done"], resources: {requests: {cpu: 10m}, limits: {cpu: 20m, memory: 64Mi}}}
    - {name: frozen, image: $image, command: [sleep, infinity]}
---
apiVersion: v1
kind: Pod
metadata: {name: killed, namespace: default}
spec:
  nodeName: $node
  terminationGracePeriodSeconds: 1
  containers:
    - {name: killed, image: $image, command: [sh, -c, "x=\$(yes | head -c 60000000)"], resources: {requests: {memory: 32Mi}, limits: {memory: 32Mi}}}
POD
kubectl wait -n default --for=condition=Ready --timeout=20m pod/throttled >&2
left=120
until kubectl get pod -n default killed -o 'jsonpath={.status.containerStatuses[0].restartCount}' | grep -q '[2-9]'; do
	left=$((left - 1))
	[ "$left" -gt 0 ] || { echo "pod killed was not restarted twice within ten minutes" >&2; exit 1; }
	sleep 5
done

id() { kubectl get pod -n default throttled -o "jsonpath={.status.containerStatuses[?(@.name=='$1')].containerID}" | sed 's|.*/||'; }
cgroup() { on sh -c "cut -d: -f3 /proc/$(on ctr -n k8s.io task ls | awk -v id="$1" '$1 == id { print $2 }')/cgroup"; }
throttled=$(cgroup "$(id throttled)")
frozen=$(cgroup "$(id frozen)")
killed=${throttled%/*/*}/$(on ls "/sys/fs/cgroup${throttled%/*/*}" | grep "pod$(kubectl get pod -n default killed -o 'jsonpath={.metadata.uid}' | tr - _)")
kubepods=${throttled%/kubelet-kubepods.slice/*}/kubelet-kubepods.slice

paused=$(id frozen)
on ctr -n k8s.io task pause "$paused" >&2
docker exec -i "$node" sh -s "throttled=$throttled" "frozen=$frozen" "killed=$killed" "kubepods=$kubepods" <<'TAR'
set -eu
dir=$(mktemp -d)
for d; do
	mkdir "$dir/${d%%=*}"
	for f in cgroup.events cgroup.max.descendants cgroup.stat cpu.max cpu.stat memory.current memory.events memory.max memory.peak pids.current pids.max; do
		cat "/sys/fs/cgroup/${d#*=}/$f" >"$dir/${d%%=*}/$f"
	done
done
tar -c -C "$dir" throttled frozen killed kubepods
rm -r "$dir"
TAR
