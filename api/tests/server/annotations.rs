//! Annotations by HTTP.

use serde_json::{Value, json};

use crate::started::Started;

fn started() -> (Started, String) {
    let server = Started::new();
    let points = r#"[{"metric":"m","timestamp":1356998400,"value":1,"tags":{"host":"a"}}]"#;
    assert_eq!(server.client().post("/api/put?sync", points).status, 204);
    let found: Value = serde_json::from_str(server.client().get("/api/search/lookup?m=m").text()).unwrap();
    let tsuid = found["results"][0]["tsuid"].as_str().unwrap().to_owned();
    (server, tsuid)
}

fn ask(server: &Started, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = server.client().request(method, path, "", body);
    (answer.status, serde_json::from_str(answer.text()).unwrap_or_default())
}

#[test]
fn an_annotation_is_written_merged_replaced_found_and_deleted() {
    let (server, tsuid) = started();
    let first = json!({"tsuid": tsuid, "startTime": 1_356_998_460, "description": "d", "custom": {"owner": "jdoe"}});
    let (status, written) = ask(&server, "POST", "/api/annotation", &first);
    let expect = json!({"tsuid": tsuid, "description": "d", "notes": "", "custom": {"owner": "jdoe"},
        "startTime": 1_356_998_460, "endTime": 0});
    assert_eq!((status, &written), (200, &expect));
    let path = format!("/api/annotation?tsuid={tsuid}&start_time=1356998460");
    assert_eq!(ask(&server, "GET", &path, &Value::Null), (200, expect));
    let (_, merged) = ask(&server, "POST", &format!("{path}&notes=n"), &Value::Null);
    assert_eq!((&merged["description"], &merged["notes"]), (&json!("d"), &json!("n")));
    let (_, replaced) = ask(&server, "PUT", "/api/annotation", &json!({"tsuid": tsuid, "startTime": 1_356_998_460}));
    assert_eq!((&replaced["description"], replaced.get("custom")), (&json!(""), None));
    assert_eq!(ask(&server, "DELETE", &path, &Value::Null).0, 204);
    assert_eq!(ask(&server, "DELETE", &path, &Value::Null).0, 204);
    let (status, missing) = ask(&server, "GET", &path, &Value::Null);
    assert_eq!((status, &missing["error"]["message"]), (404, &json!("Unable to locate annotation in storage")));
    assert_eq!(ask(&server, "GET", "/api/annotation", &Value::Null).0, 400);
}

#[test]
fn many_annotations_are_written_listed_and_deleted_at_once() {
    let (server, tsuid) = started();
    let many = json!([
        {"startTime": 1_356_998_400, "description": "everything"},
        {"startTime": 1_356_998_460, "tsuid": tsuid, "description": "one series"},
        {"startTime": 1_357_998_400, "description": "later"},
    ]);
    let (status, written) = ask(&server, "POST", "/api/annotation/bulk", &many);
    assert_eq!((status, written.as_array().unwrap().len(), &written[0]["tsuid"]), (200, 3, &json!("")));
    let path = "/api/annotations?start_time=1356998400&end_time=1356998500";
    let (_, listed) = ask(&server, "GET", path, &Value::Null);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["description"]), (1, &json!("everything")));
    let wanted = json!({"tsuids": [tsuid], "global": true, "startTime": "1356998400", "endTime": 1_356_998_500});
    let (status, deleted) = ask(&server, "DELETE", "/api/annotation/bulk", &wanted);
    let expect = json!({"tsuids": [tsuid], "global": true, "startTime": 1_356_998_400_000_i64,
        "endTime": 1_356_998_500_000_i64, "totalDeleted": 2});
    assert_eq!((status, deleted), (200, expect));
    let check = |path: &str, expect: &str| {
        let (status, answer) = ask(&server, "DELETE", path, &Value::Null);
        assert_eq!((status, &answer["error"]["message"]), (400, &json!(expect)), "{path}");
    };
    check("/api/annotation/bulk?global", "Missing parameter <code>start_time</code>");
    check("/api/annotation/bulk?start_time=1", "Missing the TSUIDs or global annotations flag");
    let (status, deleted) = ask(&server, "DELETE", "/api/annotation/bulk?start_time=1&global", &Value::Null);
    assert_eq!((status, &deleted["totalDeleted"]), (200, &json!(1)));
}

#[test]
fn a_query_has_the_annotations_that_begin_in_its_window() {
    let (server, tsuid) = started();
    let many = json!([
        {"startTime": 1_356_998_460, "tsuid": tsuid, "description": "second"},
        {"startTime": 1_356_998_400, "tsuid": tsuid, "description": "first"},
        {"startTime": 1_356_998_501, "tsuid": tsuid, "description": "after"},
        {"startTime": 1_356_998_401, "description": "everything"},
    ]);
    assert_eq!(ask(&server, "POST", "/api/annotation/bulk", &many).0, 200);
    let query = |fields: Value| {
        let mut body = json!({"start": 1_356_998_400, "end": 1_356_998_500,
            "queries": [{"metric": "m", "aggregator": "sum"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (status, answer) = ask(&server, "POST", "/api/query", &body);
        assert_eq!(status, 200, "{answer}");
        let texts = |field: &str| -> Option<Vec<String>> {
            let notes = answer[0].get(field)?.as_array()?;
            Some(notes.iter().map(|note| note["description"].as_str().unwrap().to_owned()).collect())
        };
        (texts("annotations"), texts("globalAnnotations"))
    };
    let list = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    assert_eq!(query(json!({})), (list(&["first", "second"]), None));
    assert_eq!(query(json!({"globalAnnotations": true})), (list(&["first", "second"]), list(&["everything"])));
    assert_eq!(query(json!({"noAnnotations": "true"})), (None, None));
    let path = "/api/query?start=1356998400&end=1356998500&m=sum:m&no_annotations&global_annotations";
    let (_, answer) = ask(&server, "GET", path, &Value::Null);
    assert_eq!(
        (answer[0].get("annotations"), answer[0].get("globalAnnotations")),
        (None, None),
        "those about everything neither"
    );
}
