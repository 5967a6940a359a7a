# Prints what the snippet says about each request: JSON in, two booleans out.
require 'json'
require_relative 'snippet'

$stdin.each_line do |line|
  secret, headers, body = JSON.parse(line).values_at('secret', 'headers', 'body')
  raw_body = body.unpack1('m')
  puts "#{verify(secret, headers, raw_body)} #{verify_x(secret, headers['x-signature'], raw_body)}"
end
