//! The examples of `docs/mappings.md`: triggers match as the table says, data gives the body beside it.

use bytes::Bytes;
use postrider::domain::mapping::MappingDefinition;
use postrider::json;
use postrider::mapping::{CompiledMapping, Rendered};
use postrider::trigger::Trigger;
use serde_json::{Value, json};

use super::{blocks, text_of};

fn rendered(mapping: &Value, event: &str) -> Result<Rendered, String> {
    let definition: MappingDefinition = serde_json::from_value(mapping.clone()).unwrap();
    let compiled = CompiledMapping::compile(&definition)
        .unwrap_or_else(|faults| panic!("{mapping}: {faults:?}"));
    let event = json::to_string(&json::parse(event.as_bytes()).unwrap());
    compiled.render(&Bytes::from(event)).map_err(|error| error.to_string())
}

/// The sample event of the page.
fn event(page: &str) -> String {
    let event = blocks(page).into_iter().find(|block| block.kind == "json event");
    event.expect("the page has an event").text
}

#[test]
fn triggers_of_the_book_match_as_it_says() {
    let page = text_of("docs/mappings.md");
    let event = event(&page);
    let document = json::parse(event.as_bytes()).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| trigger |")).skip(2);
    let mut seen = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [trigger, answer, _] = cells.as_slice() else { panic!("{row}") };
        let parsed = Trigger::parse(trigger.trim_matches('`'))
            .unwrap_or_else(|error| panic!("{row}: {error}"));
        let expected = if parsed.matches(&document) { "yes" } else { "no" };
        assert_eq!(*answer, expected, "{row}");
        seen += 1;
    }
    assert!(seen >= 12, "{seen} triggers");
}

#[test]
fn mappings_of_the_book_give_the_bodies_beside_them() {
    let page = text_of("docs/mappings.md");
    let event = event(&page);
    let (mut data, mut url, mut seen) = (None, None, 0);
    for block in blocks(&page) {
        match block.kind.as_str() {
            "json data" => data = Some(serde_json::from_str::<Value>(&block.text).unwrap()),
            "json body" => {
                let data = data.take().expect("a body follows its data");
                let mapping = json!({"url": "https://example.com", "data": data});
                let given = rendered(&mapping, &event).unwrap();
                let expected = json::to_string(&json::parse(block.text.as_bytes()).unwrap());
                assert_eq!(std::str::from_utf8(&given.body).unwrap(), expected, "{data}");
                seen += 1;
            }
            "json url" => url = Some(serde_json::from_str::<Value>(&block.text).unwrap()),
            "text address" => {
                let mapping = json!({"url": url.take().expect("an address follows its URL")});
                assert_eq!(rendered(&mapping, &event).unwrap().url.as_str(), block.text);
                seen += 1;
            }
            _ => {}
        }
    }
    assert!(data.is_none() && seen >= 12, "{seen} mappings");
}
