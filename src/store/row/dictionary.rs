//! The static dictionary of header compression: common header lines and prefixes of lines. Part of the file
//! format: an entry keeps its number for ever, new ones are appended.

/// The entries: headers of requests, then headers of responses.
pub(super) const LINES: [&str; 110] = [
    "\n",
    "\ncontent-type: application/json",
    "\nuser-agent: Postrider/",
    "\nwebhook-id: dlv_",
    "\nwebhook-id: bat_",
    "\nwebhook-timestamp: ",
    "\nwebhook-signature: v1,",
    "\nx-signature: ",
    "\ntraceparent: 00-",
    "\ntracestate: ",
    "\nauthorization: ***",
    "\nx-api-key: ***",
    "\nidempotency-key: ",
    "\nuser-agent: ",
    "\naccept: */*",
    "\naccept: ",
    "\ncontent-length: 0",
    "\ncontent-length: ",
    "\ndate: ",
    "\ncontent-type: ",
    "\ncontent-type: application/json; charset=utf-8",
    "\ncontent-type: application/problem+json",
    "\ncontent-type: text/plain",
    "\ncontent-type: text/plain; charset=utf-8",
    "\ncontent-type: text/html",
    "\ncontent-type: text/html; charset=utf-8",
    "\ncontent-type: text/html; charset=UTF-8",
    "\nserver: ",
    "\nserver: nginx",
    "\nserver: cloudflare",
    "\nserver: Apache",
    "\nserver: envoy",
    "\nserver: uvicorn",
    "\nserver: gunicorn",
    "\nserver: Microsoft-IIS/10.0",
    "\nconnection: keep-alive",
    "\nconnection: close",
    "\nkeep-alive: timeout=",
    "\ntransfer-encoding: chunked",
    "\nvary: ",
    "\nvary: Accept-Encoding",
    "\nvary: accept-encoding",
    "\nvary: Origin",
    "\ncache-control: ",
    "\ncache-control: no-cache",
    "\ncache-control: no-store",
    "\ncache-control: no-cache, private",
    "\ncache-control: private",
    "\ncache-control: max-age=0, private, must-revalidate",
    "\ncache-control: no-cache, no-store, max-age=0, must-revalidate",
    "\npragma: no-cache",
    "\nexpires: ",
    "\nexpires: 0",
    "\nlast-modified: ",
    "\netag: \"",
    "\netag: W/\"",
    "\nage: ",
    "\nallow: ",
    "\nlocation: ",
    "\nretry-after: ",
    "\nset-cookie: ***",
    "\nwww-authenticate: ",
    "\naccept-ranges: bytes",
    "\nstrict-transport-security: max-age=",
    "\nstrict-transport-security: max-age=31536000; includeSubDomains",
    "\nx-content-type-options: nosniff",
    "\nx-frame-options: DENY",
    "\nx-frame-options: SAMEORIGIN",
    "\nx-xss-protection: 0",
    "\nx-xss-protection: 1; mode=block",
    "\nx-download-options: noopen",
    "\nx-permitted-cross-domain-policies: none",
    "\nx-dns-prefetch-control: off",
    "\nreferrer-policy: no-referrer",
    "\nreferrer-policy: strict-origin-when-cross-origin",
    "\npermissions-policy: ",
    "\ncontent-security-policy: ",
    "\ncross-origin-opener-policy: same-origin",
    "\ncross-origin-resource-policy: same-origin",
    "\norigin-agent-cluster: ?1",
    "\naccess-control-allow-origin: *",
    "\naccess-control-",
    "\nx-powered-by: ",
    "\nx-powered-by: Express",
    "\nx-powered-by: PHP/",
    "\nx-request-id: ",
    "\nx-correlation-id: ",
    "\nx-trace-id: ",
    "\nx-runtime: ",
    "\nx-response-time: ",
    "\nx-envoy-upstream-service-time: ",
    "\nx-ratelimit-limit: ",
    "\nx-ratelimit-remaining: ",
    "\nx-ratelimit-reset: ",
    "\nratelimit-",
    "\nserver-timing: ",
    "\nvia: ",
    "\nvia: 1.1 ",
    "\nx-cache: ",
    "\nx-amzn-requestid: ",
    "\nx-amzn-trace-id: Root=1-",
    "\nx-amz-",
    "\nx-vercel-id: ",
    "\nx-cloud-trace-context: ",
    "\ncf-ray: ",
    "\ncf-cache-status: DYNAMIC",
    "\nalt-svc: ",
    "\nalt-svc: h3=\":443\"; ma=86400",
    "\nnel: ",
    "\nreport-to: ",
];

/// The number and length of the longest entry that is a prefix of `rest`; none unless a line begins here.
pub(super) fn longest(rest: &[u8]) -> Option<(u8, usize)> {
    if rest.first() != Some(&b'\n') {
        return None;
    }
    let key = usize::from(key(rest));
    let alike = &ORDER[usize::from(FIRST[key])..usize::from(FIRST[key + 1])];
    let begins = |number: &&u8| rest.starts_with(LINES[usize::from(**number)].as_bytes());
    let number = alike.iter().find(begins).copied().unwrap_or(0);
    Some((number, LINES[usize::from(number)].len()))
}

/// The entries by hash, the longest of each first.
const ORDER: [u8; LINES.len()] = order();
/// Where the entries of a hash begin in it.
const FIRST: [u8; 257] = first();

/// A hash that separates most entries: two letters of their names.
const fn key(line: &[u8]) -> u8 {
    if line.len() < 4 { 0 } else { line[1].wrapping_mul(8) ^ line[3] }
}

const fn order() -> [u8; LINES.len()] {
    let mut order = [0; LINES.len()];
    let mut number: u8 = 0;
    while (number as usize) < LINES.len() {
        let mut at = number as usize;
        while at > 0 && is_before(number, order[at - 1]) {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = number;
        number += 1;
    }
    order
}

const fn first() -> [u8; 257] {
    let mut first = [0; 257];
    let mut number: u8 = 0;
    while (number as usize) < LINES.len() {
        let mut after = key(LINES[number as usize].as_bytes()) as usize + 1;
        while after < first.len() {
            first[after] += 1;
            after += 1;
        }
        number += 1;
    }
    first
}

const fn is_before(number: u8, other: u8) -> bool {
    let line = LINES[number as usize].as_bytes();
    let one = LINES[other as usize].as_bytes();
    key(line) < key(one) || (key(line) == key(one) && line.len() > one.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::sha256;

    /// The digest of the first entries. When entries are appended, a line is appended here.
    const KEPT: [(usize, &str); 1] =
        [(110, "27a927f3d49cb15b10d21341134711ba436917c47d3f823e2fc147a0065cc11f")];

    #[test]
    fn an_entry_keeps_its_number() {
        for (count, digest) in KEPT {
            let lines = LINES[..count].concat();
            assert_eq!(hex::encode(sha256(&[lines.as_bytes()])), digest, "the first {count}");
        }
        assert_eq!(KEPT.map(|(count, _)| count).last(), Some(&LINES.len()));
    }

    #[test]
    fn the_longest_line_is_found() {
        for (number, line) in LINES.iter().enumerate() {
            let found = longest(line.as_bytes()).expect("a line");
            assert_eq!((usize::from(found.0), found.1), (number, line.len()), "{line:?}");
        }
        let long = b"\ncontent-type: application/json; charset=utf-8\n";
        assert_eq!(longest(long).map(|it| it.1), Some(long.len() - 1));
        assert_eq!(longest(b"\nx-unknown: 1\n"), Some((0, 1)));
        assert_eq!(longest(b"\n"), Some((0, 1)));
        assert_eq!(longest(b"date: "), None);
        assert_eq!(longest(b""), None);
    }
}
