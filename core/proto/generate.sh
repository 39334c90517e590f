#!/usr/bin/env bash
# Generates the Go code of both protocol files beside them. The plugins' versions
# are those of go.mod's tool directives; test/generated compares the result.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-.}
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
PATH=$bin:$PATH protoc --proto_path=. \
  --go_out="$out" --go_opt=module=github.com/deep-sandbox/deep \
  --go-grpc_out="$out" --go-grpc_opt=module=github.com/deep-sandbox/deep \
  core/proto/backend/v1/backend.proto core/proto/guest/v1/guest.proto
