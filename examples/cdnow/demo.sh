#!/bin/sh
# One transform, compiled once, makes a training dataset and answers requests; an audit proves it.
# Then another team's version goes live, and the audit names it. Works in a fresh copy of the
# project; $UNSKEW names the binary.
set -eu

example=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$example/../.." && pwd)
unskew=${UNSKEW:-$repository/target/debug/unskew}
project=$repository/build/demo
transforms=../../transforms
server=

if [ ! -x "$unskew" ]; then
    echo "demo: there is no $unskew: run 'make demo', or name the binary in UNSKEW" >&2
    exit 1
fi

say() {
    printf '\n== %s\n' "$1"
}

# Shows a command and runs it.
run() {
    printf '\n$ unskew %s\n' "$*"
    "$unskew" "$@"
}

# Runs a command whose check has to say no: exit code 1, and no other.
run_to_no() {
    status=0
    run "$@" || status=$?
    if [ "$status" -ne 1 ]; then
        echo "demo: expected exit code 1, got $status" >&2
        exit 1
    fi
    echo "(exit code 1)"
}

start_server() {
    printf '\n$ unskew serve --listen 127.0.0.1:0 &\n'
    : > server.log
    "$unskew" serve --listen 127.0.0.1:0 > server.log 2>&1 &
    server=$!
    # Port 0 is any free one: the line that names it is written when the server listens.
    for _ in $(seq 100); do
        url=$(sed -n 's#.*\(http://[0-9.:]*\).*#\1#p' server.log)
        [ -n "$url" ] && break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat server.log
    [ -n "$url" ] || { echo "demo: the server did not start" >&2; exit 1; }
}

stop_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap stop_server EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

rm -rf "$project"
mkdir -p "$project"
cp -R "$example/unskew.toml" "$example/features" "$example/data" "$project"
cd "$project"

say "1. Publish: each transform is compiled once, and named by the SHA-256 of its bytes"
for transform in user_age recency scale basket; do
    run transform publish "$transforms/$transform"
done

say "2. Apply: the definitions in features/*.toml come into force"
run plan
run apply

say "3. Train: 6,000 questions \"what was known about this customer at this moment?\""
run training-set --entities data/churn_examples.parquet --service churn --output churn.parquet

say "4. Serve: the newest rows go to the online store, and the same bytes answer over HTTP"
run materialize --to 1998-07-01
start_server
ask() {
    run get --server "$url" --service churn --event-time 1998-07-01T12:00:00Z \
        --entity customer_id=164 --entity customer_id=3 --entity customer_id=2
}
ask

say "5. Audit: is the model served by the code that it was trained on?"
run audit training-set churn.parquet --server "$url"

say "6. Another team publishes user_age 2.0.0, and has its own idea of an age: calendar years"
run transform publish ../../examples/cdnow/transforms/user_age_v2
printf '\n$ sed -i s/user_age@1.0.0/user_age@2.0.0/ features/on_demand.toml\n'
use_user_age() {
    sed "s/user_age@[0-9.]*#/user_age@$1#/" "$example/features/on_demand.toml" > features/on_demand.toml
}
use_user_age 2.0.0
run plan
run apply
stop_server
start_server
ask

say "7. Audit: the name is the same, the type is the same, the feature is not"
run_to_no audit training-set churn.parquet --server "$url"
printf '\nWith the data at hand, the audit also counts:\n'
run_to_no audit training-set churn.parquet

say "8. Back to what the model was trained on"
printf '\n$ sed -i s/user_age@2.0.0/user_age@1.0.0/ features/on_demand.toml\n'
use_user_age 1.0.0
run apply
stop_server
start_server
run audit training-set churn.parquet --server "$url"

cat <<EOT

== The project is yours to play with
    alias unskew=$unskew
    cd $project
    unskew catalog search user age            # who has built this already?
    unskew catalog show user_age_years        # who owns it, what computes it, who uses it
    unskew transform inspect commerce/basket@1.0.0
    unskew get --service churn --entity customer_id=42
    unskew serve                              # then: curl localhost:6566/metrics
Change a default, a ttl or a param in features/*.toml, then: unskew plan, apply, and audit again.
EOT
