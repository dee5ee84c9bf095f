# shellcheck shell=bash
# A member of the lab as a set of Linux namespaces: born, wired to the others, entered, ended.

# Starts `lab.sh _NAME` as PID 1 of new namespaces, and notes its process id.
spawn() { # NAME ROLE
  local name=$1 role=$2 parent
  mkdir -p "$RUN/$name"
  rm -f "$RUN/$name/ready" "$RUN/$name/pid"
  # A clean environment: daemons live long, and must not depend on who started them. The lock (9) is not theirs.
  # $RUN is there as an argument for pid() to know the process by.
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root ABLESTACK_LAB="$LAB" \
    setsid unshare -n -m -u -i -p -f --mount-proc --kill-child bash "$HERE/lab.sh" "$role" "$name" "$RUN" \
    </dev/null >"$RUN/$name/init.log" 2>&1 9<&- &
  parent=$!
  wait_for 60 pgrep -P "$parent" >"$RUN/$name/pid.new" || die "no namespace for $name: $(cat "$RUN/$name/init.log")"
  mv "$RUN/$name/pid.new" "$RUN/$name/pid"
}

is_ready() { [ -e "$RUN/$1/ready" ]; }
is_ready_or_dead() { is_ready "$1" || ! alive "$1"; }
await() { # NAME
  wait_for 300 is_ready_or_dead "$1" && is_ready "$1" && return
  cat "$RUN/$1/init.log" >&2
  die "$1 did not come up; above is its log"
}

# Two cables from the controller's bridges to a host: eth0 for management, eth1 for the guests' segment.
wire() { # HOST
  local host=$1 number ctl own
  number=$(host_number "$host")
  ctl=$(pid ctl) own=$(pid "$host")
  cable() { # SUFFIX BRIDGE PEER MAC
    # The same address after a crash: the others' ARP caches would take ten seconds to notice another.
    # A crashed host's end is torn down by the kernel in its own time.
    nsenter -t "$ctl" -n ip link del "$host$1" 2>/dev/null || true
    nsenter -t "$ctl" -n ip link add "$host$1" type veth peer name "$3" address "$4" netns "$own"
    nsenter -t "$ctl" -n ip link set "$host$1" master "$2" up
  }
  cable m mgmt eth0 "02:99:00:00:00:0$number"
  cable v segment eth1 "02:98:00:00:00:0$number"
}

enter() { # NAME COMMAND...
  local name=$1 p
  shift
  p=$(pid "$name") || die "$name is not up"
  # shellcheck disable=SC2016  # expanded inside
  exec nsenter -t "$p" -a --wdns=/ env -u SSH_AUTH_SOCK -u XDG_RUNTIME_DIR HOME=/root \
    bash -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$PWD" "$@"
}

# What a power cut does: PID 1 of the namespace is gone, and with it every process in it, at once.
end() { # NAME
  local p
  p=$(pid "$1") || return 0
  kill -9 "$p" 2>/dev/null || true
  wait_for 120 is_gone "$p" || die "$1 (process $p) does not end"
  rm -f "$RUN/$1/ready" "$RUN/$1/pid"
}
# Where the machine's first process reaps nobody (in many a container it is a `sleep` or a `tail`), whatever came in from
# outside and lost its parent stays as a zombie, and the kernel keeps the namespace's PID 1 for it: dead, with nothing left.
is_gone() {
  kill -0 "$1" 2>/dev/null || return 0
  ! readlink -q "/proc/$1/ns/net" >/dev/null && [ "$(pgrep --ns "$1" --nslist pid --runstates D,I,R,S,T)" = "$1" ]
}

# ---- inside -----------------------------------------------------------------------------------------------------

# Folders of its own over the machine's: writes go to the run folder. Overlays rather than empty folders, because
# the tests' interpreter may lie below any of these.
overlay_folders() { # NAME
  local own=$RUN/$1 folder
  for folder in etc root srv var; do
    mkdir -p "$own/$folder.up" "$own/$folder.work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$own/$folder.up,workdir=$own/$folder.work" "/$folder"
  done
}

isolate() { # NAME
  local name=$1 own=$RUN/$1
  mount --make-rprivate /
  if has_own_root "$name"; then enter_root "$name"; else overlay_folders "$name"; fi
  # A fresh sysfs shows this network namespace's interfaces, and hides the machine's cgroups from libvirt.
  mount -t sysfs sysfs /sys
  mkdir -p "$own/run"
  find "$own/run" -mindepth 1 -delete
  mount --bind "$own/run" /run
  mkdir -p /run/lock /run/sshd
  chmod 755 /run

  hostname "$name"
  echo "$name" >/etc/hostname
  md5sum <<<"$name $RUN" | cut -c1-32 >/etc/machine-id
  {
    echo "127.0.0.1 localhost"
    echo "$MGMT.1 ctl"
    local host
    for host in $(host_names); do echo "$MGMT.1$(host_number "$host") $host"; done
  } >/etc/hosts
  # No resolver: an unknown name fails at once instead of after a timeout.
  rm -f /etc/resolv.conf
  echo 'nameserver 127.0.0.1' >/etc/resolv.conf

  ip link set lo up
  sysctl -qw net.ipv4.ip_forward=1
  # Else every bridged frame goes through the NAT network's filter rules.
  sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || true
  configure_sshd
}

configure_sshd() {
  mkdir -p /etc/ssh
  [ -e "$RUN/keys/host_key" ] || ssh-keygen -q -t ed25519 -N '' -f "$RUN/keys/host_key" || true
  rm -f /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/*
  cp "$RUN/keys/host_key" /etc/ssh/ssh_host_ed25519_key
  chmod 600 /etc/ssh/ssh_host_ed25519_key
  printf '%s\n' 'HostKey /etc/ssh/ssh_host_ed25519_key' 'PermitRootLogin yes' 'UsePAM no' 'PidFile /run/sshd.pid' \
    'MaxStartups 100:30:200' 'MaxSessions 100' 'UseDNS no' 'Subsystem sftp internal-sftp' >/etc/ssh/sshd_config
}

# PID 1 must reap what its daemons leave: a QEMU that stays a zombie looks alive to libvirtd. bash reaps while it waits.
serve() { # NAME
  touch "$RUN/$1/ready"
  trap 'exit 0' TERM
  while :; do
    sleep 3600 &
    wait $! || true
  done
}
