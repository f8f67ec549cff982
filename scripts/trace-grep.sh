#!/bin/sh
# Runs the tests with everything logged at TRACE, and looks for the shapes of secrets in it.
#
#   scripts/trace-grep.sh                    the whole run
#   scripts/trace-grep.sh doorway:: keys::   some of it
#
# The log goes through a pipe and is not kept: it may have gigabytes. Ends with 1 when a test fails, when
# anything is found, or when so little was logged that nothing is proven.
set -eu
cd "$(dirname "$0")/.."
cargo test --test it --no-run
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/log"

# Keys, signing secrets, trigger tokens, JSON Web Tokens, headers, database addresses; then what the
# tests themselves take for secrets.
w='[0-9A-Za-z+/_-]'
w8="$w$w$w$w$w$w$w$w"
shapes="kv_live_$w8$w8|whsec_$w8|kvt_$w8$w8|eyJ$w8$w8*[.]$w8|[Bb]earer [^ ]|[Aa]uthorization: [^ ]"
shapes="$shapes|postgres(ql)?://[^ :@/]+:[^ @]+@|signature=$w8"
shapes="$shapes|replayed-secret|replayed-key|sk-ant-[a-z]|an-ai-providers-secret|a long enough password|canary-$w"

LC_ALL=C awk -v shapes="$shapes" -v lines="$folder/lines" '
    $0 ~ shapes { if (++found <= 20) print }
    END { print NR > lines; exit found > 0 }
' < "$folder/log" > "$folder/found" &
reader=$!
tests=0
CODASH_TEST_TRACE="$folder/log" cargo test --test it -- "$@" || tests=1
secrets=0
wait "$reader" || secrets=1
echo "$(cat "$folder/lines") lines were logged, $(wc -l < "$folder/found") of the first 20 findings:"
cut -c1-300 "$folder/found"
[ "$(cat "$folder/lines")" -gt 1000 ] || { echo "too few lines to prove anything" >&2; exit 1; }
exit $((tests | secrets))
