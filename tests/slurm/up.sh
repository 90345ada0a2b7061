#!/bin/bash
# A real Slurm on this machine for tests: munged, slurmctld and two slurmd on loopback, all of this user's own.
# Usage: up.sh FOLDER. Then: export SLURM_CONF=FOLDER/slurm.conf. down.sh FOLDER stops it and removes FOLDER.
# Needs slurmctld, slurmd, slurm-client and munge: apt-get install -y --no-install-recommends slurm-wlm munge
# Nothing outside FOLDER is written, no service of the system is started or used; it runs as root and without.
set -eu
folder=${1:?a folder for its state, logs and pid files}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
mkdir -p "$folder"/{state,spool,log,munge}
chmod 0755 "$folder/munge"
user=$(id -un) host=$(hostname -s) base=${ITIN_SLURM_PORT:-27810}
export PATH=$PATH:/usr/sbin:/sbin

(umask 077 && dd if=/dev/urandom bs=1 count=1024 of="$folder/munge/key" 2>/dev/null)
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed" 2>>"$folder/log/munged.err"

# Two nodes of two cores and two GPUs by name. `low` gives way to `high`: its jobs get ten seconds and are put back. Arrays of more than three tasks are refused.
cat >"$folder/slurm.conf" <<CONF
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=10
CryptoType=crypto/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=$base
SlurmdPort=$((base + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,preempt_reorder_count=1
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
JobRequeue=1
KillWait=5
OverTimeLimit=0
MinJobAge=600
InactiveLimit=0
MaxArraySize=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((base + 2))-$((base + 3))] CPUs=2 RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
# Slurm wants a device for every GPU; nobody opens them.
for node in n1 n2; do
    for device in null zero; do echo "NodeName=$node Name=gpu File=/dev/$device"; done
done >"$folder/gres.conf"
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$folder/cgroup.conf"

export SLURM_CONF=$folder/slurm.conf
slurmctld -f "$SLURM_CONF"
for node in n1 n2; do slurmd -f "$SLURM_CONF" -N $node; done
for _ in $(seq 1 300); do
    [ "$(sinfo -h -N -p low -o %T 2>/dev/null | grep -c '^idle')" = 2 ] && exec sinfo -N -o "%N %P %T %c %G"
    sleep 0.1
done
echo "the nodes did not come up:" >&2
tail -n 20 "$folder"/log/*.log >&2
exit 1
