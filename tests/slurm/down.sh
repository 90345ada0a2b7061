#!/bin/bash
# Stops the Slurm that up.sh FOLDER started, with its jobs, by its pid files, and removes FOLDER.
set -u
folder=$(cd "${1:?the folder that up.sh was given}" && pwd) || exit 0
export SLURM_CONF=$folder/slurm.conf
squeue -h -o %A 2>/dev/null | sort -u | xargs -r scancel 2>/dev/null # whoever's they are
for _ in $(seq 1 100); do
    [ -z "$(squeue -h -t running,completing 2>/dev/null)" ] && break
    sleep 0.1
done
pids=()
for file in "$folder"/slurmd.*.pid "$folder"/slurmctld.pid "$folder"/munged.pid; do
    [ -f "$file" ] && pids+=("$(cat "$file")")
done
for signal in TERM KILL; do
    for pid in "${pids[@]}"; do kill -$signal "$pid" 2>/dev/null; done
    for _ in $(seq 1 100); do
        alive=0
        for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && alive=1; done
        [ $alive = 0 ] && break 2
        sleep 0.1
    done
done
rm -rf "$folder"
