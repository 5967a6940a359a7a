// Prints what the snippet says about each request: lines of base64 in, two booleans out. Java has no JSON parser.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;

final class Driver {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split(" ", -1);
            Map<String, String> headers = new HashMap<>();
            for (int at = 2; at + 1 < parts.length; at += 2) {
                headers.put(parts[at], text(parts[at + 1]));
            }
            String secret = text(parts[0]);
            byte[] rawBody = Base64.getDecoder().decode(parts[1]);
            boolean isX = Verify.verifyX(secret, headers.get("x-signature"), rawBody);
            System.out.println(Verify.verify(secret, headers, rawBody) + " " + isX);
        }
    }

    private static String text(String encoded) {
        return new String(Base64.getDecoder().decode(encoded), StandardCharsets.UTF_8);
    }
}
