//! `context.ip` of client-side sources: the sender's address, where the event has none.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, WRITE_KEY, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

async fn send(app: &TestApp, path: &str, body: &Value, forwarded: &'static str) {
    let authorization = HeaderValue::try_from(format!("Bearer {WRITE_KEY}")).unwrap();
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("authorization"), authorization),
        (HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(forwarded)),
    ]);
    let sent = app.client.request(Method::POST, path, headers, body.to_string().into());
    assert_eq!(sent.await.unwrap().status, 200);
}

/// The `context` of each event that arrived, by messageId.
fn contexts(receiver: &Receiver) -> std::collections::BTreeMap<String, Value> {
    let bodies = receiver.requests();
    let bodies = bodies.iter().map(|it| serde_json::from_slice::<Value>(&it.body).unwrap());
    bodies.map(|it| (it["messageId"].as_str().unwrap().to_owned(), it["context"].clone())).collect()
}

#[tokio::test]
async fn the_address_of_the_sender_is_filled_in_where_a_source_is_set_so() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    for (is_set, is_trusted) in [(false, true), (true, false), (true, true)] {
        let app = Builder::new()
            .settings(move |settings| {
                let proxies =
                    if is_trusted { vec!["127.0.0.0/8".parse().unwrap()] } else { vec![] };
                settings.trusted_proxies = proxies;
            })
            .start()
            .await;
        let mut document = pipeline(&[("one", &receiver.url("/"), json!({}))]);
        document["sources"][0]["client_ip"] = is_set.into();
        app.apply(document).await;
        let before = receiver.requests().len();
        let id = |name: &str| format!("{name}-{is_set}-{is_trusted}");
        let track = |name: &str| json!({"userId": "u", "event": "E", "messageId": id(name)});
        send(&app, "/v1/track", &track("bare"), "198.51.100.7").await;
        let mut own = track("own");
        own["context"] = json!({"ip": "0.0.0.0", "locale": "de"});
        send(&app, "/v1/track", &own, "198.51.100.7").await;
        let item =
            json!({"type": "page", "userId": "u", "messageId": id("item"), "context": {"a": 1}});
        let batch = json!({"batch": [item], "context": {"b": 2}});
        send(&app, "/v1/batch", &batch, "198.51.100.7").await;
        app.until_settled(3).await;
        assert_eq!(receiver.requests().len(), before + 3);

        let ip = match (is_set, is_trusted) {
            (false, _) => None,
            (true, false) => Some("127.0.0.1"),
            (true, true) => Some("198.51.100.7"),
        };
        let of = |name: &str| contexts(&receiver)[&id(name)].clone();
        assert_eq!(of("bare")["ip"].as_str(), ip);
        assert_eq!(of("own"), json!({"ip": "0.0.0.0", "locale": "de"}));
        assert_eq!(
            (of("item")["ip"].as_str(), &of("item")["a"], &of("item")["b"]),
            (ip, &json!(1), &json!(2))
        );
        let (_, shown) = app.client.get("/api/v1/sources/website").await.unwrap();
        assert_eq!(shown["client_ip"].as_bool().unwrap_or_default(), is_set, "{shown}");
        app.stop().await;
    }
}
