#!/usr/bin/env bash
# A public collection of cases for Redis's commands against the table of database 0: redis_cases.sh CASES.py HOST:PORT LEAST
# Every case passes or is refused by name; so many pass at the least.
set -uo pipefail
least=$3
said=$(python3 "$1" "$2" --show 2>&1)
echo "$said" | grep "^FAIL" | grep -v "is not supported by Althing\|use a strong table\|or a strong one" && exit 1
passed=$(echo "$said" | grep -o "^[0-9]* passed" | grep -o "[0-9]*")
echo "$passed cases pass, all others are refused by name"
[ "${passed:-0}" -ge "$least" ]
