# Chef's own verifier on captured requests: one JSON list in, one JSON list of true, false or an error's text out.
require "json"
require "openssl"
require "mixlib/authentication/signatureverification"

Captured = Struct.new(:env, :method, :path, :raw_post, :params)

asked = JSON.parse($stdin.read)
key = OpenSSL::PKey::RSA.new(asked["public_key"])
verdicts = asked["requests"].map do |request|
  env = request["headers"].to_h { |name, value| ["HTTP_#{name.upcase.tr("-", "_")}", value] }
  body = request["body"].unpack1("m")
  captured = Captured.new(env, request["method"], request["path"], body, {})
  verified = Mixlib::Authentication::SignatureVerification.new(captured).authenticate_request(key)
  !verified.nil?
rescue Mixlib::Authentication::AuthenticationError => e
  e.message
end
puts JSON.generate(verdicts)
