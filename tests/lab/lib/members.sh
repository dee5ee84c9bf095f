# shellcheck shell=bash
# What PID 1 does in the controller's and in a KVM host's namespaces.

# The controller has the bridges that join the hosts, and hands out addresses on the guests' segment.
run_controller() {
  isolate ctl
  install_keys ctl
  ip link add mgmt type bridge
  ip addr add "$MGMT.1/24" dev mgmt
  ip link set mgmt up
  ip link add segment type bridge
  ip addr add "$SEGMENT.1/24" dev segment
  ip link set segment up
  dnsmasq --conf-file=/dev/null --interface=segment --except-interface=lo --bind-interfaces --no-resolv --no-hosts --no-ping \
    --dhcp-authoritative --dhcp-range="$SEGMENT.50,$SEGMENT.250,10m" --domain=vm.lab \
    --dhcp-leasefile="$RUN/ctl/leases" --pid-file=/run/dnsmasq.pid
  share_folder
  serve ctl
}

# The storage all members see. A plain bind: QEMU's image locks work across hosts, as on a cluster file system.
share_folder() {
  mkdir -p "$RUN/shared" /srv/shared
  mount --bind "$RUN/shared" /srv/shared
}

run_host() { # hN
  local host=$1
  isolate "$host"
  install_keys "$host"
  own_folders "$host"
  own_kvm
  share_folder
  join_networks "$host"
  configure_libvirt "$host"
  /usr/sbin/sshd -f /etc/ssh/sshd_config -E /var/log/libvirt/sshd.log
  virtlogd -d
  libvirtd -d -l
  wait_for 120 virsh -q -c qemu:///system uri >/dev/null 2>&1
  define_default_network
  define_pool default /srv/default
  define_pool local /srv/local
  define_pool shared /srv/shared
  serve "$host"
}

# With the group that guests run in: where the machine's has another, libvirtd finds at every call that what it knows of
# QEMU cannot be right, and asks QEMU again, which takes seconds.
own_kvm() {
  [ -c /dev/kvm ] || return 0
  mknod -m 660 /run/kvm c 10 232
  chown root:kvm /run/kvm
  mount --bind /run/kvm /dev/kvm
}

# libvirt's own folders bypass the overlay of /var: disks, memory images and sockets belong on a plain file system.
own_folders() { # hN
  local own=$RUN/$1 kind pool
  for kind in lib log cache; do
    mkdir -p "$own/$kind" "/var/$kind/libvirt"
    [ "$kind" != lib ] || [ -e "$own/lib/qemu" ] || cp -a /var/lib/libvirt/. "$own/lib/"
    mount --bind "$own/$kind" "/var/$kind/libvirt"
  done
  mkdir -p /var/log/libvirt/qemu /var/log/swtpm/libvirt/qemu
  for pool in default local; do
    mkdir -p "$own/$pool" "/srv/$pool"
    mount --bind "$own/$pool" "/srv/$pool"
  done
}

join_networks() { # hN
  # shellcheck disable=SC2317  # called by wait_for
  has_cables() { ip link show eth0 && ip link show eth1; }
  wait_for 120 has_cables >/dev/null 2>&1
  ip addr add "$MGMT.1$(host_number "$1")/24" dev eth0
  ip link set eth0 up
  ip route add default via "$MGMT.1"
  ip link add br0 type bridge
  ip link set eth1 master br0
  ip link set eth1 up
  ip link set br0 up
}

openvswitch() { # hN BRIDGE
  [ -n "${2:-}" ] || usage
  ! has_own_root "$1" || die "$1 has no Open vSwitch"
  enter "$1" bash "$HERE/lab.sh" _openvswitch "$2"
}

# In the host. The switch is a process there, since the kernel has no module for it; the kernel's own bridges know no
# VLANs either. Daemons that outlive this command must not hold its output.
add_openvswitch_bridge() { # BRIDGE
  local log=/var/log/libvirt/openvswitch.log
  if ! pgrep -x ovs-vswitchd >/dev/null; then
    rm -f /etc/openvswitch/conf.db
    /usr/share/openvswitch/scripts/ovs-ctl start --system-id=random --no-monitor </dev/null >"$log" 2>&1 || {
      cat "$log" >&2
      die "Open vSwitch does not start"
    }
  fi
  ovs-vsctl --timeout=120 --may-exist add-br "$1" -- set bridge "$1" datapath_type=netdev
  ip link set "$1" up
}

configure_libvirt() { # hN
  # A host keeps its identity over a crash; two hosts must differ, or they refuse to migrate to each other.
  local uuid
  uuid=$(md5sum <<<"uuid $1 $RUN" | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/')
  cat >/etc/libvirt/libvirtd.conf <<CONF
host_uuid = "$uuid"
listen_tls = 1
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0777"
max_clients = 500
max_workers = 40
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
CONF
  # Guests run as the user that the distribution chose, so that whoever may not read a file is found out here, too.
  cat >/etc/libvirt/qemu.conf <<CONF
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
migration_address = "0.0.0.0"
migration_host = "$1"
vnc_listen = "127.0.0.1"
CONF
}

# As libvirt ships it, and written out so that it does not depend on what the machine's administrator made of it.
define_default_network() {
  virsh -q net-info default >/dev/null 2>&1 || virsh -q net-define /dev/stdin <<XML
<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
</network>
XML
  virsh -q net-autostart default
  until_active net default
}

define_pool() { # NAME FOLDER
  virsh -q pool-info "$1" >/dev/null 2>&1 || virsh -q pool-define-as "$1" dir --target "$2"
  virsh -q pool-autostart "$1"
  until_active pool "$1"
}

# The daemon starts what is marked autostart at the same time: to find it started meanwhile is no error.
until_active() { # net|pool NAME
  wait_for 120 is_active "$1" "$2" || virsh -q "$1-start" "$2"
}
is_active() { # net|pool NAME
  listed() { virsh -q "$1-list" --name | awk -v name="$2" '$1 == name {found = 1} END {exit !found}'; }
  listed "$1" "$2" || { virsh -q "$1-start" "$2" >/dev/null 2>&1 && listed "$1" "$2"; }
}
