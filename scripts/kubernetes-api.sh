#!/usr/bin/env bash
# An API server without a cluster: etcd and kube-apiserver on loopback, no controllers, no nodes, so
# that no pod ever comes. Its audit log names every write.
#
#   scripts/kubernetes-api.sh up DIRECTORY [PORT]   prints what the environment needs
#   scripts/kubernetes-api.sh down DIRECTORY
#
# The programs `etcd` and `kube-apiserver` are those in KUBEBUILDER_ASSETS, or those that
# scripts/kubernetes-lab.sh has built. Exits with 3 where there are none.
set -euo pipefail

fail() {
  echo "kubernetes-api: $1" >&2
  exit "${2:-1}"
}
[ $# -ge 2 ] || fail "usage: scripts/kubernetes-api.sh up DIRECTORY [PORT] | down DIRECTORY" 2
mkdir -p "$2"
directory=$(cd "$2" && pwd)
port=${3:-16543}
lab=${KUBERNETES_LAB_DIR:-$HOME/.cache/kubernetes-lab}

program() {
  local place
  for place in "${KUBEBUILDER_ASSETS:-/nowhere}" "$lab/bin/1.20" "$lab/bin/etcd-3.5" "$lab/bookworm/usr/bin"; do
    [ ! -x "$place/$1" ] || {
      echo "$place/$1"
      return
    }
  done
  fail "there is no $1: name a directory that has it in KUBEBUILDER_ASSETS" 3
}

# Ends what was started, if it still is that.
down() {
  local name pid
  for name in kube-apiserver etcd; do
    pid=$(cat "$directory/$name.pid" 2>/dev/null) || continue
    if [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$directory"; then
      kill "$pid"
      timeout 20 tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
    fi
    rm -f "$directory/$name.pid"
  done
}

start() {
  local name=$1
  shift
  setsid "$@" >"$directory/$name.log" 2>&1 </dev/null &
  echo $! >"$directory/$name.pid"
}

up() {
  local etcd apiserver token
  etcd=$(program etcd)
  apiserver=$(program kube-apiserver)
  token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  umask 077
  echo "$token,admin,admin,system:masters" >"$directory/tokens.csv"
  openssl genrsa -out "$directory/accounts.key" 2048 2>/dev/null
  # Reads are none of what is counted.
  cat >"$directory/audit.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
  - {level: None}
YAML
  start etcd "$etcd" --data-dir "$directory/etcd" --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$((port + 1))" --advertise-client-urls "http://127.0.0.1:$((port + 1))" \
    --listen-peer-urls "http://127.0.0.1:$((port + 2))" --initial-advertise-peer-urls "http://127.0.0.1:$((port + 2))" \
    --initial-cluster "default=http://127.0.0.1:$((port + 2))"
  start kube-apiserver "$apiserver" --etcd-servers="http://127.0.0.1:$((port + 1))" \
    --bind-address=127.0.0.1 --secure-port="$port" --cert-dir="$directory/certificates" \
    --token-auth-file="$directory/tokens.csv" --authorization-mode=RBAC --endpoint-reconciler-type=none \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$directory/accounts.key" \
    --service-account-signing-key-file="$directory/accounts.key" --service-cluster-ip-range=10.96.0.0/16 \
    --disable-admission-plugins=ServiceAccount --profiling=false \
    --audit-policy-file="$directory/audit.yaml" --audit-log-path="$directory/audit.log" --audit-log-format=json \
    --audit-log-mode=blocking
  cat >"$directory/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$directory/certificates/apiserver.crt"}}]
users: [{name: u, user: {token: "$token"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
YAML
  for _ in $(seq 300); do
    [ "$(kubectl --kubeconfig "$directory/kubeconfig" get --raw /readyz 2>/dev/null)" != ok ] || {
      echo "export KUBECONFIG=$directory/kubeconfig"
      return
    }
    read -rt 0.2 _ <> <(:) || true
  done
  down
  tail -n 5 "$directory/etcd.log" "$directory/kube-apiserver.log" >&2
  fail "the API server is not ready after a minute"
}

case $1 in
  up) up ;;
  down) down ;;
  *) fail "unknown command $1" 2 ;;
esac
