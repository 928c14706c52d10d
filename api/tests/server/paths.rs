//! Paths, methods, versions, origins and the switches of every endpoint.

use serde_json::json;

use tidemark_api::auth::{KnownToken, Role, Token};

use crate::started::Started;

#[test]
fn paths_are_brought_to_one_form() {
    let server = Started::new();
    let mut client = server.client();
    for path in ["/api/version", "/API/VERSION/", "/api/v1/version", "/api/version?x=1"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    client.get("/api/v2/version").expect(
        501,
        json!({"error": {"code": 501, "message": "Requested API version is greater than the max implemented",
            "details": "API version [2] is greater than the max [1]"}}),
    );
    client.get("/api/vX/version").expect_error(404, "Endpoint not found");
    client.get("/api/nosuchendpoint").expect(404, json!({"error": {"code": 404, "message": "Endpoint not found"}}));
    client.get("/api").expect_error(404, "Endpoint not found");
    assert_eq!(client.get("/nosuchpage").status, 404);
    assert_eq!(client.get("/own/Name").text(), "own");
}

#[test]
fn small_endpoints_answer_as_opentsdb_does() {
    let server = Started::new();
    let mut client = server.client();
    client.get("/api/dropcaches").expect(200, json!({"status": "200", "message": "Caches dropped"}));
    let version = client.get("/api/version").json();
    for field in
        ["version", "short_revision", "full_revision", "timestamp", "repo_status", "user", "host", "repo", "branch"]
    {
        assert!(version[field].is_string(), "{field} in {version}");
    }
    assert!(client.get("/version").text().starts_with("net.opentsdb.tools "));
    assert!(client.get("/version?json").json()["version"].is_string());
    let aggregators = client.get("/api/aggregators").json();
    assert!(aggregators.as_array().unwrap().contains(&json!("zimsum")));
    assert!(client.get("/api/config/filters").json()["iwildcard"]["description"].is_string());
    assert_eq!(client.get("/api/config").json()["tsd.storage.max_tags"], "8");
    assert_eq!(client.get("/api/serializers").json()[0]["serializer"], "json");
    let stats = client.get("/api/stats").json();
    let version_requests = stats.as_array().unwrap().iter().find(|statistic| {
        statistic["metric"] == "tsd.http.requests" && statistic["tags"]["endpoint"] == "/api/version"
    });
    assert_eq!(version_requests.unwrap()["value"], "1");
    assert!(client.get("/stats").text().lines().count() > 5);
    assert!(client.get("/stats?json").json().is_array());
}

#[test]
fn methods_are_checked_and_can_be_overridden() {
    let server = Started::new();
    let mut client = server.client();
    client.request("DELETE", "/api/version", "", "").expect_error(405, "Method not allowed");
    client.request("OPTIONS", "/api/version", "", "").expect_error(405, "Method not allowed");
    let answer = client.request("PATCH", "/api/version", "", "");
    assert_eq!((answer.status, answer.text()), (405, ""));
    let answer = client.request("GET", "/api/suggest?method_override=post", "", r#"{"type":"metrics"}"#);
    answer.expect(200, json!([]));
    client.get("/api/version?serializer=xml").expect_error(400, "Requested serializer was not found");
    assert_eq!(client.get("/api/version?serializer=json").status, 200);
}

#[test]
fn an_override_is_judged_as_the_method_that_it_becomes() {
    let server = Started::new();
    let mut client = server.client();
    client.get("/api/suggest?method_override=patch").expect_error(405, "Unknown or unsupported method override value");
    // Only OpenTSDB's endpoints know it: elsewhere a GET stays one.
    assert_eq!(client.get("/own/Name?method_override=delete").text(), "own");
    // Without an origin, as an image on another site's page would do it.
    let image = client.request("GET", "/api/put?method_override=post", "Sec-Fetch-Site: cross-site\r\n", "");
    image.expect_error(403, "a page of another site may not do this");
    assert_eq!(server.client().get("/api/put?method_override=post").status, 400);
}

#[test]
fn roles_are_judged_by_the_path_that_is_routed() {
    let token = Token::generate(&[Role::Operate]).unwrap();
    let server = Started::with(|options| {
        let known = KnownToken { name: "ops".to_owned(), roles: vec![Role::Operate] };
        options.tokens.insert(&token.hash(), known).unwrap();
    });
    let bearer = format!("Authorization: Bearer {}\r\n", token.text());
    for path in [
        "/api/put",
        "/api/%70ut",
        "/%61pi/v1/put",
        "//api//put",
        "/api/put/",
        "/API/PUT",
        "/api/%50UT/",
        "/api/v1/metadata/put",
        "/api/metadata%2Fput",
        "/api/v1/metadata/put%3F",
    ] {
        let status = server.client().request("POST", path, &bearer, "{}").status;
        let unknown = path.contains("%2F") || path.contains("%3F");
        assert_eq!(status, if unknown { 404 } else { 403 }, "{path}");
    }
    assert_eq!(server.client().request("GET", "/api/%70ut?method_override=post", &bearer, "{}").status, 403);
    assert_eq!(server.client().request("GET", "/api/%76ersion", &bearer, "").status, 200);
    assert_eq!(server.client().request("DELETE", "/api/query?start=1h-ago&m=sum:a", &bearer, "").status, 400);
}

#[test]
fn a_token_that_may_read_may_not_delete() {
    let tokens = [("wall", Role::Read), ("ops", Role::Operate)].map(|(name, role)| {
        let known = KnownToken { name: name.to_owned(), roles: vec![role] };
        (Token::generate(&[role]).unwrap(), known)
    });
    let [wall, ops] = &tokens;
    let server = Started::with(|options| {
        options.opentsdb.allow_delete = true;
        for (token, known) in &tokens {
            options.tokens.insert(&token.hash(), known.clone()).unwrap();
        }
    });
    let mut client = server.client();
    let body = r#"{"start":1,"end":2,"delete":true,"queries":[{"metric":"m","aggregator":"sum"}]}"#;
    let status = |client: &mut crate::client::Client, token: &Token| {
        let bearer = format!("Authorization: Bearer {}\r\n", token.text());
        client.request("POST", "/api/query", &bearer, body).status
    };
    assert_eq!(status(&mut client, &wall.0), 403);
    // There is no such metric.
    assert_eq!(status(&mut client, &ops.0), 400);
}

#[test]
fn only_pages_of_our_own_names_reach_a_server_without_tokens() {
    let server = Started::with(|options| options.hosts = vec!["tidemark.example".to_owned()]);
    let status = |host: &str| {
        let mut client = server.client();
        client.send(format!("GET /api/version HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer().status
    };
    let own = ["localhost:4242", "127.0.0.1:4242", "[::1]:4242", "tidemark.example", "tidemark.example:443"];
    assert_eq!(own.map(status), [200; 5]);
    assert_eq!(status("evil.example:4242"), 421);
    let mut old = server.client();
    old.send("GET /api/version HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().status, 200);
}

#[test]
fn pages_of_other_sites_write_nothing() {
    let server = Started::new();
    let point = r#"{"metric":"m","timestamp":1,"value":1,"tags":{"host":"a"}}"#;
    let put = |origin: &str| {
        let headers = format!("Content-Type: text/plain\r\nOrigin: {origin}\r\n");
        server.client().request("POST", "/api/put", &headers, point).status
    };
    assert_eq!(["http://evil.example", "null", "http://localhost:8080"].map(put), [403; 3]);
    assert_eq!(put("http://localhost"), 204);
    assert_eq!(
        server
            .client()
            .request("POST", "/api/suggest", "Origin: http://evil.example\r\n", r#"{"type":"metrics"}"#)
            .status,
        200
    );
}

#[test]
fn head_is_a_get_without_a_body_beside_opentsdbs_paths() {
    let server = Started::new();
    let mut client = server.client();
    client.send("HEAD /own/Name HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = client.read_until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 3"), "{head}");
    // The connection goes on right after the head.
    assert_eq!(client.get("/own/Name").text(), "own");
    for path in ["/api/version", "/version", "/api/put"] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 405"), "{path}");
    }
}

#[test]
fn preflights_need_no_token_and_refusals_can_be_read() {
    let token = Token::generate(&[Role::Read]).unwrap();
    let server = Started::with(|options| {
        options.opentsdb.cors_domains = vec!["http://a.example".to_owned()];
        let known = KnownToken { name: "wall".to_owned(), roles: vec![Role::Read] };
        options.tokens.insert(&token.hash(), known).unwrap();
    });
    let ask = |method: &str, path: &str, headers: &str| {
        let answer = server.client().request(method, path, &format!("Origin: http://a.example\r\n{headers}"), "");
        (answer.status, answer.header("access-control-allow-origin").map(str::to_owned))
    };
    let bearer = format!("Authorization: Bearer {}\r\n", token.text());
    let allowed = Some("http://a.example".to_owned());
    assert_eq!(ask("OPTIONS", "/api/put", "Access-Control-Request-Method: POST\r\n"), (200, allowed.clone()));
    assert_eq!(ask("GET", "/api/version", ""), (401, allowed.clone()));
    assert_eq!(ask("POST", "/api/put", &bearer), (403, allowed.clone()));
    assert_eq!(ask("GET", "/api/version", &bearer), (200, allowed));
    assert_eq!(server.client().request("OPTIONS", "/api/version", "", "").status, 401);
}

#[test]
fn parameters_of_the_wrong_kind_get_the_error_object() {
    let server = Started::new();
    let mut client = server.client();
    client.get("/own/number/x").expect_error(404, "Endpoint not found");
    client.get("/own/number/1?limit=x").expect_error(400, "Invalid query string");
    assert_eq!(client.get("/own/number/1?limit=2").text(), "3");
}

#[test]
fn answers_can_be_wrapped_in_a_function() {
    let server = Started::new();
    let mut client = server.client();
    let answer = client.get("/api/dropcaches?jsonp=cb");
    assert_eq!(answer.text(), r#"cb({"status":"200","message":"Caches dropped"})"#);
    assert_eq!(answer.header("content-type"), Some("application/javascript; charset=UTF-8"));
    client.get("/api/dropcaches?jsonp=alert(1)").expect_error(400, "Invalid 'jsonp' parameter");
    let answer = client.request("GET", "/api/dropcaches?jsonp=cb", "Sec-Fetch-Site: cross-site\r\n", "");
    assert_eq!(answer.status, 403);
}

#[test]
fn pages_of_other_origins_may_call_only_when_configured() {
    let server = Started::with(|options| options.opentsdb.cors_domains = vec!["http://a.example".to_owned()]);
    let mut client = server.client();
    let answer = client.request("GET", "/api/version", "Origin: http://a.example\r\n", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://a.example"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST, PUT, DELETE"));
    let answer = client.request("OPTIONS", "/api/put", "Origin: http://a.example\r\n", "");
    assert_eq!((answer.status, answer.text()), (200, ""));
    assert!(answer.header("access-control-allow-headers").is_some());
    let answer = client.request("GET", "/api/version", "Origin: http://b.example\r\n", "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    assert_eq!(answer.json()["error"]["message"], "CORS domain not allowed");
}

#[test]
fn requests_have_ids_and_large_answers_are_compressed() {
    let server = Started::new();
    let mut client = server.client();
    let answer = client.request("GET", "/api/version", "X-Request-Id: abc-1\r\n", "");
    assert_eq!(answer.header("x-request-id"), Some("abc-1"));
    assert_eq!(answer.header("content-encoding"), None);
    assert!(client.get("/api/version").header("x-request-id").is_some());
    let plain = client.get("/api/config/filters");
    let packed = client.request("GET", "/api/config/filters", "Accept-Encoding: gzip, deflate\r\n", "");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len());
    let mut unpacked = String::new();
    let mut decoder = flate2::bufread::GzDecoder::new(packed.body.as_slice());
    std::io::Read::read_to_string(&mut decoder, &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text());
    let packed = client.request("GET", "/api/config/filters", "Accept-Encoding: deflate, gzip;q=0.5\r\n", "");
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), (Some("deflate"), Some("Accept-Encoding")));
    let mut unpacked = String::new();
    let mut decoder = flate2::bufread::ZlibDecoder::new(packed.body.as_slice());
    std::io::Read::read_to_string(&mut decoder, &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text());
}

#[test]
fn a_stopping_server_takes_no_more_connections() {
    let mut server = Started::new();
    let mut idle = server.client();
    assert_eq!(idle.get("/api/version").status, 200);
    server.stop();
    assert!(idle.is_closed());
    assert!(std::net::TcpStream::connect(server.address).is_err());
}
