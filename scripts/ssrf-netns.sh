#!/bin/sh
# Sends webhooks to every forbidden address in a network of their own, where somebody listens on each.
#
# On any machine the tests of `automations::rebinding` listen on loopback alone. In a network namespace
# the other forbidden addresses, and the public one, can be this machine's too: the same tests then count
# connections to all of them. Needs Linux, root and iproute2; nothing outside the namespace changes.
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" != inside ]; then
    cargo test --test it --no-run
    exec unshare --net "$0" inside
fi
ip link set lo up
for address in 10.0.0.1 172.16.0.1 192.168.0.1 100.64.0.1 169.254.169.254; do
    ip addr add "$address/32" dev lo
done
for address in 2d00::1 64:ff9b::7f00:1 2002:7f00:1::1 fd00:ec2::254; do
    ip -6 addr add "$address/128" dev lo nodad
done
CODASH_TEST_TRAPS=11 cargo test --test it automations::rebinding::
