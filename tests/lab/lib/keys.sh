# shellcheck shell=bash
# The lab's SSH key pair and its TLS authority, made anew for each lab.

KEYS=$RUN/keys

make_keys() {
  [ -e "$KEYS/complete" ] && return
  mkdir -p "$KEYS"
  rm -f "$KEYS"/*
  ssh-keygen -q -t ed25519 -N '' -f "$KEYS/id_ed25519" -C lab
  # RSA: libvirt 9.0 rejects certificates without key encipherment, which ECDSA cannot carry.
  certtool --generate-privkey --bits 2048 --outfile "$KEYS/key.pem" 2>/dev/null
  printf '%s\n' 'cn=lab' ca cert_signing_key expiration_days=3650 >"$KEYS/ca.template"
  certtool --generate-self-signed --load-privkey "$KEYS/key.pem" --template "$KEYS/ca.template" \
    --outfile "$KEYS/ca.pem" 2>/dev/null
  make_certificate ctl "$MGMT.1"
  touch "$KEYS/complete"
}

# One key for all: what is tested is the transport, not the lab's secrecy.
make_certificate() { # NAME ADDRESS
  [ -e "$KEYS/$1.pem" ] && return
  printf '%s\n' "cn=$1" "dns_name=$1" "ip_address=$2" tls_www_server tls_www_client encryption_key signing_key \
    expiration_days=3650 >"$KEYS/$1.template"
  certtool --generate-certificate --load-privkey "$KEYS/key.pem" --load-ca-certificate "$KEYS/ca.pem" \
    --load-ca-privkey "$KEYS/key.pem" --template "$KEYS/$1.template" --outfile "$KEYS/$1.pem.new" 2>/dev/null
  mv "$KEYS/$1.pem.new" "$KEYS/$1.pem"
}

# Where libvirt and QEMU look for theirs, inside a namespace.
install_keys() { # NAME
  local name=$1 role
  mkdir -p /root/.ssh /etc/pki/CA /etc/pki/libvirt/private /etc/pki/qemu
  cp "$KEYS/id_ed25519" /root/.ssh/id_ed25519
  cp "$KEYS/id_ed25519.pub" /root/.ssh/authorized_keys
  printf '%s\n' 'Host *' ' StrictHostKeyChecking no' ' UserKnownHostsFile /dev/null' ' LogLevel ERROR' >/root/.ssh/config
  chmod 600 /root/.ssh/{id_ed25519,authorized_keys,config}
  cp "$KEYS/ca.pem" /etc/pki/CA/cacert.pem
  cp "$KEYS/ca.pem" /etc/pki/qemu/ca-cert.pem
  for role in server client; do
    cp "$KEYS/$name.pem" "/etc/pki/libvirt/${role}cert.pem"
    cp "$KEYS/key.pem" "/etc/pki/libvirt/private/${role}key.pem"
    cp "$KEYS/$name.pem" "/etc/pki/qemu/$role-cert.pem"
    cp "$KEYS/key.pem" "/etc/pki/qemu/$role-key.pem"
  done
  # QEMU reads them as libvirt-qemu
  chgrp -R kvm /etc/pki/qemu
  chmod 640 /etc/pki/qemu/*-key.pem
}
