# What Kconfig does to a .config, in miniature: the last value of a symbol counts, what needs a symbol
# that is not set is dropped, and an old name's value goes to the new one.
set -e
awk '/^CONFIG_/ { split($0, part, "="); value[part[1]] = $0; order[n++] = part[1] }
     /^# CONFIG_/ { value[$2] = ""; order[n++] = $2 }
     END { for (i = 0; i < n; i++) if (value[order[i]] != "" && !done[order[i]]++) print value[order[i]] }' \
    "$1" > "$1.new"
grep -q '^CONFIG_BLOCK=y' "$1.new" || sed -i '/^CONFIG_ALPHA_FS=/d' "$1.new"
version=$(sed -n 's/^CONFIG_PAHOLE_VERSION=//p' "$1.new")
[ "$version" -ge 119 ] || sed -i '/^CONFIG_DEBUG_INFO_BTF/d' "$1.new"
sed -i 's/^CONFIG_DELTA_ONE=/CONFIG_DELTA=/' "$1.new"
mv "$1.new" "$1"
