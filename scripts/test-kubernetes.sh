#!/usr/bin/env bash
# The tests on a real Kubernetes: `make test-kubernetes`.
#
# Against the cluster that KUBECONFIG names, with BOMA_TEST_KUBERNETES_IMAGE (an image with this
# program) and BOMA_TEST_KUBERNETES_POSTGRES (one of PostgreSQL 15); or against one that
# scripts/kubernetes-lab.sh brings up, and takes down again. Exits with 3 where there is neither:
# nothing was tested then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${BOMA_TEST_KUBERNETES_IMAGE:-}" ]; then
  cargo build --quiet --package boma
  status=0
  given=$(scripts/kubernetes-lab.sh up) || status=$?
  if [ "$status" != 0 ]; then
    {
      echo
      echo "*** NOT TESTED: Kubernetes. There is no cluster to test with: name one in KUBECONFIG, with"
      echo "*** BOMA_TEST_KUBERNETES_IMAGE and BOMA_TEST_KUBERNETES_POSTGRES (docs/testing.md)."
      echo
    } >&2
    [ "$status" = 3 ] && exit 3
    exit 1
  fi
  trap 'scripts/kubernetes-lab.sh down' EXIT
  eval "$given"
fi
cargo nextest run --package boma --test kubernetes --run-ignored only "$@"
