#!/bin/sh
# The first boot of a node: it makes a key, proves which EC2 instance it is, becomes a Chef client, runs Chef once and
# reports. Holds no secret. Running it again is safe: the same instance keeps its key and gets the same answer.
# Rendered by first_boot.py, which puts the settings in and takes whole-line comments out: user-data has 16 KiB.
set -eu
umask 077
LC_ALL=C
HOME=${HOME:-/root}
DEBIAN_FRONTEND=noninteractive
export LC_ALL HOME DEBIAN_FRONTEND

URL=@url@
PROTOCOL=@protocol@
PRODUCT=@product@
PACKAGE_URL=@package_url@
PACKAGE_SHA256=@package_sha256@
INTERVAL_S=@interval_s@
CRON=@cron@

# Elsewhere only in tests.
ROOT=${HIVEQUEEN_ROOT:-}
IMDS=${HIVEQUEEN_IMDS:-http://169.254.169.254}
PAUSE_S=${HIVEQUEEN_PAUSE_S:-2}
TRIES_MAX=${HIVEQUEEN_TRIES_MAX:-0}

PATH=$PATH:/usr/local/bin:/opt/$PRODUCT/bin
CONFIG=$ROOT/etc/$PRODUCT
STATE=$ROOT/var/lib/hivequeen

write_files() {
	mkdir -p "$CONFIG/trusted_certs"
	CA=''
@files@
}

say() {
	printf 'hivequeen: %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# pause ATTEMPT SECONDS: as long as the daemon asks; else twice as long each time, up to a minute or so. The random
# part keeps a fleet from coming back all at once.
pause() {
	wait_s=$2
	if [ -z "$wait_s" ]; then
		wait_s=$((PAUSE_S << ($1 < 5 ? $1 : 5)))
	fi
	random=$(od -An -N2 -tu2 /dev/urandom)
	sleep "$((wait_s + random % (wait_s / 2 + 1)))"
}

# give_up ATTEMPT: true when enough was tried. A node waits for its daemon without end: whether that is too long is
# for the daemon to say.
give_up() {
	[ "$TRIES_MAX" -gt 0 ] && [ "$1" -ge "$TRIES_MAX" ]
}

imds() {
	curl -fsS --noproxy '*' --max-time 5 -H "X-aws-ec2-metadata-token: $TOKEN" "$IMDS/latest/$1"
}

read_identity() {
	TOKEN=$(curl -fsS --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' \
		"$IMDS/latest/api/token") &&
		INSTANCE=$(imds meta-data/instance-id) &&
		WORK=$STATE/$INSTANCE &&
		mkdir -p "$WORK" &&
		imds dynamic/instance-identity/document >"$WORK/document" &&
		imds dynamic/instance-identity/signature >"$WORK/signature"
}

# The marker comes first: what was begun is not begun again after a reboot.
run_user_data() {
	USER_DATA_STATUS=0
	[ -e "$WORK/user-data" ] || return 0
	if [ ! -e "$WORK/user-data.status" ]; then
		echo 255 >"$WORK/user-data.status"
		if [ "$(head -c 2 "$WORK/user-data")" = '#!' ]; then
			chmod 700 "$WORK/user-data"
			set -- "$WORK/user-data"
		else
			set -- sh "$WORK/user-data"
		fi
		(umask 022 && exec "$@") >"$WORK/user-data.log" 2>&1 </dev/null || USER_DATA_STATUS=$?
		echo "$USER_DATA_STATUS" >"$WORK/user-data.status"
	fi
	USER_DATA_STATUS=$(cat "$WORK/user-data.status")
	[ "$USER_DATA_STATUS" = 0 ] || say "the declared user_data failed with exit status $USER_DATA_STATUS"
}

# Kept by instance id: an image made from a node must not bring that node's key along.
make_key() {
	KEY=$WORK/key.pem
	if [ ! -s "$KEY" ]; then
		openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$KEY.new" 2>/dev/null
		mv "$KEY.new" "$KEY"
	fi
	openssl pkey -in "$KEY" -pubout -out "$WORK/public_key"
	openssl dgst -sha256 -sign "$KEY" -out "$WORK/proof" "$WORK/document"
}

# post PATH ARGUMENT…: sets STATUS (000: unreachable, or not who it should be) and RETRY_AFTER.
post() {
	path=$1
	shift
	RETRY_AFTER=''
	STATUS=$(curl -sS --proto "=$PROTOCOL" --connect-timeout 10 --max-time 90 ${CA:+--cacert "$CA"} \
		-o "$WORK/answer" -D "$WORK/headers" -w '%{http_code}' "$@" "$URL$path") || STATUS=000
	if [ "$STATUS" != 000 ]; then
		RETRY_AFTER=$(tr -d '\r' <"$WORK/headers" | sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\{1,3\}\)$/\1/p' | tail -n 1)
	fi
}

# insist PATH ARGUMENT…: until there is an answer that trying again would not change; true if it is yes.
insist() {
	attempt=0
	while :; do
		post "$@"
		case $STATUS in
		200) return 0 ;;
		000 | 429 | 5??) ;;
		*) return 1 ;;
		esac
		attempt=$((attempt + 1))
		if give_up "$attempt"; then
			return 1
		fi
		say "the daemon answered $STATUS, trying again"
		pause "$attempt" "$RETRY_AFTER"
	done
}

# value KEY: of the answer, unless it holds what could mean anything to a shell, to Ruby or to JSON.
value() {
	found=$(sed -n "s/^$1=//p" "$WORK/answer" | head -n 1)
	case $found in
	'' | *[!]A-Za-z0-9_.:/@,%+[-]*) die "the daemon's answer has no usable $1" ;;
	esac
	printf '%s' "$found"
}

register() {
	if ! insist /bootstrap/v1/register -F "document=@$WORK/document" -F "signature=@$WORK/signature" \
		-F "public_key=@$WORK/public_key" -F "proof=@$WORK/proof"; then
		die "not registered, the daemon answered $STATUS: $(head -c 200 "$WORK/answer" 2>/dev/null | tr -cd ' -~')"
	fi
	NODE_NAME=$(value node_name)
	SERVER_URL=$(value chef_server_url)
	ENVIRONMENT=$(value chef_environment)
	RUN_LIST=$(value run_list)
}

install_client() {
	if command -v "$PRODUCT-client" >/dev/null; then
		return 0
	fi
	[ -n "$PACKAGE_URL" ] || die "there is no $PRODUCT-client in the image, and bootstrap.package is not set"
	case ${PACKAGE_URL%%\?*} in
	*.rpm) package=$WORK/package.rpm ;;
	*) package=$WORK/package.deb ;;
	esac
	curl -fsSL --proto '=https,http' --retry 5 --max-time 900 -o "$package" "$PACKAGE_URL"
	sum=$(openssl dgst -sha256 -r "$package")
	[ "${sum%% *}" = "$PACKAGE_SHA256" ] || die "$PACKAGE_URL has another SHA-256 than bootstrap.package says"
	case $package in
	*.rpm) set -- rpm -U --replacepkgs "$package" ;;
	*) set -- dpkg -i "$package" ;;
	esac
	# A first boot is when other installers run too, and theirs is the lock.
	attempt=0
	until (umask 022 && exec "$@"); do
		attempt=$((attempt + 1))
		[ "$attempt" -lt 6 ] || die "$PACKAGE_URL could not be installed"
		pause "$attempt" ''
	done
	rm "$package"
}

# The key in the older of the two forms: every Chef reads it. OpenSSL 1.1 writes nothing else and lacks the option.
configure() {
	rm -f "$CONFIG/client.pem"
	openssl rsa -in "$KEY" -traditional -out "$CONFIG/client.pem" 2>/dev/null ||
		openssl rsa -in "$KEY" -out "$CONFIG/client.pem" 2>/dev/null
	cat >"$CONFIG/client.rb" <<-END
		chef_server_url '$SERVER_URL'
		node_name '$NODE_NAME'
		client_key '$CONFIG/client.pem'
		trusted_certs_dir '$CONFIG/trusted_certs'
		log_location STDOUT
	END
	if [ "$PRODUCT" = chef ]; then
		echo "chef_license 'accept'" >>"$CONFIG/client.rb"
	fi
	printf '{"run_list": ["%s"]}\n' "$(printf '%s' "$RUN_LIST" | sed 's/,/", "/g')" >"$CONFIG/first-boot.json"
}

# Only after a first success: until then the Chef server does not know the node's run list, and an empty run would pass.
# The environment is not repeated: from now on the Chef server says it.
set_timer() {
	client=$(command -v "$PRODUCT-client")
	if [ -d "$ROOT/run/systemd/system" ]; then
		cat >"$ROOT/etc/systemd/system/hivequeen-chef.service" <<-END
			[Unit]
			Description=Chef run
			Wants=network-online.target
			After=network-online.target
			[Service]
			Type=oneshot
			ExecStart=$client -c $CONFIG/client.rb
		END
		cat >"$ROOT/etc/systemd/system/hivequeen-chef.timer" <<-END
			[Unit]
			Description=Chef run every $INTERVAL_S s
			[Timer]
			OnActiveSec=$INTERVAL_S
			OnUnitActiveSec=$INTERVAL_S
			RandomizedDelaySec=$((INTERVAL_S / 10))
			[Install]
			WantedBy=timers.target
		END
		systemctl daemon-reload
		systemctl enable --now hivequeen-chef.timer
	elif [ -d "$ROOT/etc/cron.d" ]; then
		echo "$CRON root $client -c $CONFIG/client.rb >/dev/null 2>&1" >"$ROOT/etc/cron.d/hivequeen-chef"
	else
		say "neither systemd nor cron.d here: Chef will not run again by itself"
	fi
}

converge() {
	if [ "$USER_DATA_STATUS" != 0 ]; then
		say "the declared user_data failed with exit status $USER_DATA_STATUS:"
		tail -c 4000 "$WORK/user-data.log"
	fi
	install_client
	configure
	(umask 022 && exec "$PRODUCT-client" -c "$CONFIG/client.rb" -j "$CONFIG/first-boot.json" -E "$ENVIRONMENT")
	set_timer
}

# Nobody waits for this as a node waits to be registered, so it ends.
report() {
	if [ "$TRIES_MAX" = 0 ]; then
		TRIES_MAX=30
	fi
	{
		printf 'instance_id=%s\noutcome=%s\nuser_data=%s\n\n' "$INSTANCE" "$1" "$USER_DATA_STATUS"
		tail -c 12000 "$WORK/run.log"
	} >"$WORK/report"
	openssl dgst -sha256 -sign "$KEY" -out "$WORK/report_signature" "$WORK/report"
	insist /bootstrap/v1/report -F "report=@$WORK/report" -F "signature=@$WORK/report_signature" ||
		say "the report was not taken, the daemon answered $STATUS"
}

attempt=0
until read_identity; do
	attempt=$((attempt + 1))
	if give_up "$attempt"; then
		die "the instance metadata service does not answer"
	fi
	pause "$attempt" ''
done
write_files
run_user_data
make_key
register
say "registered as $NODE_NAME"
set +e
(set -e && converge) >"$WORK/run.log" 2>&1 </dev/null
result=$?
set -e
if [ "$result" = 0 ]; then
	report success
	say "the first Chef run succeeded"
else
	report failure
	die "the first Chef run failed, see $WORK/run.log"
fi
