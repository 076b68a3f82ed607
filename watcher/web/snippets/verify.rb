require "json"
require "openssl"

# Return the event of a request: its raw body, its headers by lower-case name. Raises if forged.
def verify(body, headers, secret)
  sent = headers.fetch("webhook-timestamp")
  raise "too old" if (Time.now.to_i - Integer(sent, 10)).abs > 300
  key = secret.delete_prefix("whsec_").unpack1("m")
  signed = "#{headers.fetch("webhook-id")}.#{sent}.".b + body.b
  expected = "v1," + [OpenSSL::HMAC.digest("SHA256", key, signed)].pack("m0")
  fits = headers.fetch("webhook-signature").split(" ").any? { |one| OpenSSL.secure_compare(one, expected) }
  raise "no signature fits" unless fits
  JSON.parse(body)
end
