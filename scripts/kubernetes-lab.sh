#!/usr/bin/env bash
# Brings up a Kubernetes to test with, out of a directory that holds one (BOMA_KUBERNETES_LAB, or
# ../shared/kubernetes-lab beside the repository): `scripts/kubernetes-lab.sh up`, `image`, `down`.
# `up` prints what the tests read from the environment. Exits with 3 where there is no such directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lab=${BOMA_KUBERNETES_LAB:-../shared/kubernetes-lab}
[ -x "$lab/up.sh" ] || {
  echo "kubernetes-lab: there is none in $lab" >&2
  exit 3
}
[ "$(id -u)" = 0 ] || {
  echo "kubernetes-lab: it needs root" >&2
  exit 3
}
state=${KUBERNETES_LAB_DIR:-$HOME/.cache/kubernetes-lab}
binary=${BOMA_TEST_BINARY:-${CARGO_TARGET_DIR:-target}/debug/boma}
digest=$(sha256sum "$binary" | cut -c1-12)
image=k8slab.local/boma:$digest

# An image of nothing but the program, and the libraries of this machine that it needs where it is
# not linked statically.
make_image() {
  local archive=$state/img/boma.tar root
  root=$(mktemp -d "$state/boma-root.XXXXXX")
  # shellcheck disable=SC2064 # what is to be removed is known now
  trap "rm -rf '$root'" RETURN
  mkdir -p "$root/usr/local/bin" "$root/boma" "$state/img"
  objcopy --strip-debug "$binary" "$root/usr/local/bin/boma"
  for library in $(ldd "$binary" 2>/dev/null | grep -o '/[^ ]*'); do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
  done
  python3 "$lab/mkimage.py" "$root" "$image" "$archive" --entrypoint '["/usr/local/bin/boma"]' >&2
}

# An image of the S3 server that backups are tested against, where scripts/install-test-stores.sh has
# installed it: its environment, the Python beneath it, and the libraries of both.
store=k8slab.local/moto:1
make_store_image() {
  local archive=$state/img/moto.tar stores=${BOMA_TEST_STORES_DIR:-/var/cache/boma/stores} python root
  [ -x "$stores/moto/bin/moto_server" ] || {
    echo "kubernetes-lab: no object store to test with: scripts/install-test-stores.sh installs one" >&2
    return 0
  }
  [ ! "$archive" -nt "$stores/.installed" ] || return 0
  root=$(mktemp -d "$state/moto-root.XXXXXX")
  # shellcheck disable=SC2064 # what is to be removed is known now
  trap "rm -rf '$root'" RETURN
  python=$(readlink -f "$stores/moto/bin/python3")
  {
    echo "$stores/moto"
    echo "$python"
    "$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'
  } | while read -r path; do
    mkdir -p "$root${path%/*}"
    tar -C / --exclude=test --exclude=idlelib --exclude='config-*' \
      --exclude="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
      -cf - "$path" 2>/dev/null | tar -C "$root" -xf -
  done
  { echo "$python"; find "$root" -name '*.so*' -type f; } | xargs -n 50 ldd 2>/dev/null |
    grep -o '/[^ :]*\.so[^ :]*' | sort -u | while read -r library; do
    case $library in "$root"*) continue ;; esac
    mkdir -p "$root${library%/*}"
    [ -e "$root$library" ] || cp -L "$library" "$root$library"
  done
  # Links of the environment lead to the Python by this machine's names for it.
  ln -sfn "$python" "$root$stores/moto/bin/python3"
  mkdir -p "$root/tmp"
  python3 "$lab/mkimage.py" "$root" "$store" "$archive" --entrypoint \
    "[\"$stores/moto/bin/python3\", \"$stores/moto/bin/moto_server\"]" >&2
}

# Hands the image to a node that runs already.
import_image() {
  local sandbox
  sandbox=$(pgrep -P "$(cat "$state/run/pid/sandbox")")
  nsenter -t "$sandbox" -m -n -p -r -w ctr -a /run/containerd/containerd.sock -n k8s.io \
    images import "$state/img/boma.tar" >&2
}

# A bridge without an address of its own takes the lowest of its members: it would change with each
# pod that comes or goes, and the others, which know their gateway by the former one, would reach
# neither DNS nor a Service for many seconds.
keep_gateway() {
  local sandbox address
  sandbox=$(pgrep -P "$(cat "$state/run/pid/sandbox")")
  address=$(nsenter -t "$sandbox" -m -n -p -r -w cat /sys/class/net/cni0/address)
  nsenter -t "$sandbox" -m -n -p -r -w ip link set dev cni0 address "$address"
}

# Volumes of the local kind: the kubelet gives them to the group that a pod asks for.
make_volumes() {
  kubectl --kubeconfig "$state/run/kubeconfig" apply -f - >&2 <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: local
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
allowVolumeExpansion: true
YAML
  local number
  for number in $(seq 1 "${BOMA_TEST_VOLUMES:-120}"); do
    mkdir -p "$state/run/pv/boma-$1-$number"
    cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: boma-$1-$number, labels: {boma-test: volume}}
spec:
  capacity: {storage: 20Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {path: /var/local/pv/boma-$1-$number}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [k8slab]}]}]}}
YAML
  done | kubectl --kubeconfig "$state/run/kubeconfig" apply -f - >/dev/null
}

# Whether a process of it lives: where the machine was stopped under it, only their numbers are left.
is_up() {
  local pid
  for pid in "$state"/run/pid/*; do
    ! kill -0 "$(cat "$pid" 2>/dev/null)" 2>/dev/null || return 0
  done
  return 1
}

say() {
  local sandbox
  sandbox=$(pgrep -P "$(cat "$state/run/pid/sandbox")")
  echo "export KUBECONFIG=$state/run/kubeconfig"
  echo "export BOMA_TEST_KUBERNETES_KUBELET=$(pgrep --ns "$sandbox" --nslist pid -x kubelet)"
  echo "export BOMA_TEST_KUBERNETES_IMAGE=$image"
  echo "export BOMA_TEST_KUBERNETES_POSTGRES=k8slab.local/postgres:15"
  [ ! -e "$state/img/moto.tar" ] || {
    echo "export BOMA_TEST_KUBERNETES_STORE=$store"
    echo "export BOMA_TEST_KUBERNETES_STORE_PYTHON=${BOMA_TEST_STORES_DIR:-/var/cache/boma/stores}/moto/bin/python3"
  }
}

case "${1:-}" in
  up)
    ! is_up || {
      echo "kubernetes-lab: it is up already, and somebody else's" >&2
      exit 3
    }
    "$lab/build.sh" >&2 || {
      echo "kubernetes-lab: it could not be built; what it said is above" >&2
      exit 3
    }
    for tool in kubectl objcopy python3; do
      command -v "$tool" >/dev/null || {
        echo "kubernetes-lab: there is no $tool" >&2
        exit 3
      }
    done
    make_image
    make_store_image
    "$lab/up.sh" --node --fresh >&2 || {
      "$lab/down.sh" >&2
      echo "kubernetes-lab: it did not come up; what it said is above" >&2
      exit 3
    }
    keep_gateway
    make_volumes "$(date +%s)"
    say
    ;;
  image)
    make_image
    import_image
    say
    ;;
  volumes) make_volumes "$(date +%s)" ;;
  down) "$lab/down.sh" ;;
  *)
    echo "usage: scripts/kubernetes-lab.sh up|image|volumes|down" >&2
    exit 2
    ;;
esac
