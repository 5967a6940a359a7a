#!/usr/bin/env bash
# Installs a Debian package, runs its service, and removes it. The file systems that it changes are overlays in a mount
# namespace of its own: the machine stays as it is.
set -euo pipefail
package=$1 address=$2

layers=$(mktemp -d)
mount -t tmpfs tmpfs "$layers"
for folder in etc usr var; do
    mkdir "$layers/$folder" "$layers/$folder.work"
    mount -t overlay overlay \
        -o "lowerdir=/$folder,upperdir=$layers/$folder,workdir=$layers/$folder.work" "/$folder"
done

dpkg --install "$package"
if command -v systemd-analyze >/dev/null; then
    systemd-analyze verify /lib/systemd/system/postrider.service
fi
export POSTRIDER_LISTEN=$address
as_service=(setpriv --reuid postrider --regid postrider --clear-groups)

cd /var/lib/postrider
"${as_service[@]}" /usr/bin/postrider serve --config /etc/postrider/postrider.toml &
service=$!
trap 'kill "$service" || true' EXIT
until "${as_service[@]}" /usr/bin/postrider status --ready; do
    kill -0 "$service"
    sleep 0.1
done
"${as_service[@]}" /usr/bin/postrider status --config /etc/postrider/postrider.toml
kill "$service"
wait "$service"
trap - EXIT

dpkg --purge postrider
if [ -e /usr/bin/postrider ] || [ -e /etc/postrider ]; then
    echo "the package left files behind" >&2
    exit 1
fi
test -s /var/lib/postrider/postrider.db
echo "installed, ran, removed"
