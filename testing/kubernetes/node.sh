#!/usr/bin/env bash
# A node of Kubernetes with its control plane, its containerd and a registry.
#
#   unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
#       testing/kubernetes/node.sh DIRECTORY PROGRAMS RUNU
#
# DIRECTORY keeps what outlives a restart of the node: etcd, images, certificates; its name is that of the control
# group. PROGRAMS is what `scripts/make-kubernetes.sh` has built, RUNU the OCI runtime of the class `runu`. Killing
# `unshare` ends every process, mount and interface; only the control group stays.
#
# DIRECTORY/kubeconfig is written last of what clients need: wait for it, then for the node. A daemon that ends is
# started again. DIRECTORY/pids/NAME is its process, in this namespace, and DIRECTORY/logs/NAME its output.
set -euo pipefail

directory=$1 programs=$2 runu=$3
group=$(basename "$directory")
address=192.168.77.1

mkdir -p "$directory"/{kubelet,cni,log,logs,pids,certificates,etcd,containerd,registry,empty}
cd "$directory"

# ---- the host's directories and settings, without touching the host

mount -t tmpfs tmpfs /run
mkdir -p /var/lib/kubelet /var/lib/cni
for each in kubelet:/var/lib/kubelet cni:/var/lib/cni log:/var/log; do
    mount --bind "${each%%:*}" "${each#*:}"
done
mount --make-rshared /var/lib/kubelet

# The kubelet sets these, and would change them for the whole host.
for each in vm/overcommit_memory:1 vm/panic_on_oom:0 kernel/panic:10 kernel/panic_on_oops:1; do
    file=empty/$(basename "${each%:*}")
    printf '%s\n' "${each#*:}" >"$file"
    mount --bind "$file" "/proc/sys/${each%:*}"
done

ip link set lo up
ip link add node0 type bridge
ip link add node1 type veth peer name node2
ip link set node1 master node0 up
ip link set node2 up
ip address add $address/24 dev node0
ip link set node0 up
ip route add default via 192.168.77.2 dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    mkdir -p "/sys/fs/cgroup/$group"
    for parent in /sys/fs/cgroup "/sys/fs/cgroup/$group"; do
        echo "+cpu +cpuset +memory +pids" >"$parent/cgroup.subtree_control"
    done
else
    for hierarchy in /sys/fs/cgroup/*/; do
        [[ -e $hierarchy/cgroup.procs ]] || continue
        mkdir -p "$hierarchy$group"
        for file in cpuset.cpus cpuset.mems; do
            [[ ! -e $hierarchy$file ]] || cat "$hierarchy$file" >"$hierarchy$group/$file"
        done
    done
fi

# ---- configuration

[[ -e sa.key ]] || openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
echo "secret,admin,admin,system:masters" >tokens

cat >registry.yaml <<END
version: "0.1"
log: {level: warn}
storage: {filesystem: {rootdirectory: $directory/registry}}
http: {addr: "127.0.0.1:5000", secret: tests}
END

mkdir -p networks
cat >networks/pods.conflist <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.98.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}},
  {"type": "loopback"}]}
END

cat >containerd.toml <<END
version = 2
root = "$directory/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/tools:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$directory/networks"
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runu]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["org.unikraft.runu.*"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runu.options]
  BinaryName = "$runu"
END

cat >kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$group
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
volumePluginDir: $directory/empty
resolvConf: $directory/resolv.conf
clusterDNS: [10.97.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi}
nodeStatusUpdateFrequency: 2s
syncFrequency: 5s
volumeStatsAggPeriod: 0s
END
echo "nameserver 192.168.77.2" >resolv.conf

cat >proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $directory/kubeconfig}
clusterCIDR: 10.98.0.0/24
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END

# ---- daemons

# Runs a daemon for as long as the node.
run() { # NAME COMMAND...
    local name=$1
    shift
    while :; do
        (echo "$BASHPID" >"pids/$name" && exec "$@") >>"logs/$name" 2>&1 || true
        sleep 0.2
    done &
}

# Waits until a command succeeds.
until_it_works() {
    until "$@" >/dev/null 2>&1; do sleep 0.1; done
}

run containerd containerd --config containerd.toml
run registry env OTEL_TRACES_EXPORTER=none docker-registry serve registry.yaml
run etcd "$programs/etcd" --data-dir etcd/data --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
run apiserver "$programs/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --bind-address $address \
    --advertise-address $address --secure-port 6443 --cert-dir certificates --token-auth-file tokens \
    --authorization-mode Node,RBAC --service-cluster-ip-range 10.97.0.0/24 --allow-privileged \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file sa.pub \
    --service-account-signing-key-file sa.key --kubelet-preferred-address-types InternalIP

cat >kubeconfig.new <<END
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://$address:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: secret}}]
contexts: [{name: node, context: {cluster: node, user: admin}}]
current-context: node
END
mv kubeconfig.new kubeconfig

until_it_works "$programs/kubectl" --kubeconfig kubeconfig get --raw /readyz
run controllers "$programs/kube-controller-manager" --kubeconfig kubeconfig --authentication-skip-lookup \
    --leader-elect=false --service-account-private-key-file sa.key --root-ca-file certificates/apiserver.crt \
    --bind-address 127.0.0.1 --cert-dir certificates --flex-volume-plugin-dir "$directory/empty"
run scheduler "$programs/kube-scheduler" --kubeconfig kubeconfig --authentication-skip-lookup --leader-elect=false \
    --bind-address 127.0.0.1 --cert-dir certificates
until_it_works ctr version
for image in images/*.tar; do
    ctr --namespace k8s.io images import "$image" >>logs/images
done
run kubelet "$programs/kubelet" --config kubelet.yaml --kubeconfig kubeconfig --hostname-override node \
    --node-ip $address --cert-dir certificates
run proxy "$programs/kube-proxy" --config proxy.yaml --hostname-override node
wait
