# Signed by Chef's own client library: a JSON list of requests in, a JSON list of their headers out.
require "json"
require "openssl"
require "mixlib/authentication/signedheaderauth"

asked = JSON.parse($stdin.read)
key = OpenSSL::PKey::RSA.new(asked["private_key"])
signed = asked["requests"].map do |request|
  Mixlib::Authentication::SignedHeaderAuth.signing_object(
    http_method: request["method"], path: request["path"], body: request["body"], host: "localhost",
    timestamp: request["timestamp"], user_id: request["user"], proto_version: request["version"],
    headers: { "X-Ops-Server-API-Version" => "1" }
  ).sign(key)
end
puts JSON.generate(signed)
