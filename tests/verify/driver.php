<?php
// Prints what the snippet says about each request: JSON in, two booleans out.
require 'snippet.php';

while ($line = fgets(STDIN)) {
    ['secret' => $secret, 'headers' => $headers, 'body' => $body] = json_decode($line, true);
    $rawBody = base64_decode($body);
    $results = [verify($secret, $headers, $rawBody), verify_x($secret, $headers['x-signature'], $rawBody)];
    echo implode(' ', array_map(fn ($result) => $result ? 'true' : 'false', $results)), "\n";
}
