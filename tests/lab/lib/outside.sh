# shellcheck shell=bash
# How a process outside the namespaces reaches the hosts and their guests.

SSH_CONFIG=$RUN/ssh_config

# No network leads into the lab: ssh starts a server of its own inside the namespaces, by way of their PID 1.
# Guests are reached through their host (ssh -J h1), which forwards from inside its own network. ssh ends with a SIGHUP
# to nsenter, which has to stay until that server has gone, and reap it: nobody else might (is_gone).
write_ssh_config() {
  {
    cat <<CONF
# ssh -F $SSH_CONFIG h1                            a host
# ssh -F $SSH_CONFIG -J h1 192.168.122.57          a guest on h1's network
# ssh -F $SSH_CONFIG 192.168.122.57.h1.guest       the same, as one name
# ssh -F $SSH_CONFIG -J ctl 10.98.0.50             a guest on the segment all hosts bridge (br0)
CONF
    local name
    for name in ctl $(host_names); do
      cat <<CONF
Host $name
  ProxyCommand sh -c 'trap "" HUP; exec nsenter -t "\$(cat $RUN/$name/pid)" -a env --default-signal=HUP /usr/sbin/sshd -i -f /etc/ssh/sshd_config'
Host *.$name.guest
  ProxyCommand sh -c 'to=%h; exec ssh -F $SSH_CONFIG -W "\${to%%%%.$name.guest}:%p" $name'
CONF
    done
    cat <<CONF
Host *
  User root
  IdentityFile $RUN/keys/id_ed25519
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
  ConnectTimeout 20
CONF
  } >"$SSH_CONFIG.new"
  mv "$SSH_CONFIG.new" "$SSH_CONFIG"
}

host_uri() { echo "qemu+unix:///system?socket=$RUN/$1/run/libvirt/libvirt-sock"; }

# For `eval "$(lab.sh env)"`.
print_env() {
  local host
  echo "export ABLESTACK_LAB='$LAB'"
  echo "export LAB_SSH_CONFIG='$SSH_CONFIG'"
  echo "export LAB_KEY='$RUN/keys/id_ed25519'"
  for host in $(host_names); do
    alive "$host" && echo "export ${host^^}_URI='$(host_uri "$host")'"
  done
  return 0
}
