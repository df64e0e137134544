#!/bin/sh
# Starts the tool server so that commands, which have the same user, can neither read its memory (the bind key), nor change it, nor write to its
# log: the kernel keeps a process to itself whose program its user may execute but not read. Node's own file is 120 MB and commands need it
# readable, so the dynamic loader is copied, which starts it as well; from the image as it is, because loader and C library must be the same.
# Where that cannot be, e.g. in another kernel's sandbox, Node is started as usual, and the tool server's first log line says so.
node=$(command -v node)
folder=$(mktemp -d 2> /dev/null)
for loader in /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.*; do
  if cp "$loader" "$folder/loader" 2> /dev/null && chmod 0111 "$folder/loader" && "$folder/loader" --verify "$node" 2> /dev/null; then
    exec "$folder/loader" "$node" "$@"
  fi
done
exec "$node" "$@"
