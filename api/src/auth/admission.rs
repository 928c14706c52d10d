//! Letting requests in.

use actix_web::{
    HttpMessage, HttpRequest,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{KnownToken, Role, Token, TokenError, Tokens};
use crate::error::ApiError;

/// Header in which clients of Bosun send their token.
const ACCESS_TOKEN: &str = "x-access-token";
/// Paths for balancers and supervisors, which have no token.
const OPEN_PATHS: [&str; 2] = ["/-/healthy", "/-/ready"];
/// Paths that take points or say what metrics mean.
const WRITE_PATHS: [&str; 7] = [
    "/api/uid/assign",
    "/api/put",
    "/api/rollup",
    "/api/histogram",
    "/api/metadata/put",
    "/api/index",
    "/prometheus/api/v1/write",
];
/// Paths that give everything away, or could, and those that delete.
const ADMIN_PATHS: [&str; 2] = ["/api/tidemark/v1/backup", "/api/tidemark/v1/jobs/purge"];
/// What shows what the process does for everybody and sets how much of it is logged, and what would change names; also
/// by GET.
const OPERATE_PATHS: [&str; 2] = ["/logs", "/api/uid/rename"];
/// Below this path whatever is asked by DELETE needs the highest role.
const OWN_API: &str = "/api/tidemark/v1/";
/// Paths that only read although they are asked by POST.
const READ_PATHS: [&str; 30] = [
    "/api/stats",
    "/api/stats/jvm",
    "/api/stats/query",
    "/api/stats/region_clients",
    "/api/stats/threads",
    "/api/search/tsmeta",
    "/api/search/tsmeta_summary",
    "/api/search/tsuids",
    "/api/search/uidmeta",
    "/api/search/annotation",
    "/api/config/filters",
    "/api/serializers",
    "/api/query",
    "/api/v1/query",
    "/prometheus/api/v1/format_query",
    "/prometheus/api/v1/labels",
    "/prometheus/api/v1/query",
    "/prometheus/api/v1/query_exemplars",
    "/prometheus/api/v1/query_range",
    "/prometheus/api/v1/series",
    "/api/query/exp",
    "/api/query/last",
    "/api/suggest",
    "/api/search/lookup",
    "/api/aggregators",
    "/api/config",
    "/api/version",
    "/api/expr",
    "/bosun/api/expr",
    "/api/tidemark/v1/graph",
];

/// Who sent a request, where tokens are asked for; in its extensions.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Name of the token.
    pub name: String,
    /// Whether they may do more than read and write.
    pub operates: bool,
    /// Whether they may write points.
    pub writes: bool,
}

impl Visitor {
    /// Who sent this request; nobody in particular where everybody is let in.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }
}

/// Lets a request in, or says why not. Method and path are those that are routed. On paths that are open to everybody
/// a visitor is only told when they may read.
///
/// # Errors
/// 401 without a token that is known, 403 when it may not do this.
pub(crate) fn admit(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    tokens: &Tokens,
) -> Result<Option<Visitor>, ApiError> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let known = match sent_token(headers) {
        None => {
            Err("a token is needed: `Authorization: Bearer tdm_…`, or any user with the token as password".to_owned())
        }
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(token)) => tokens.find(&token).ok_or_else(|| "no such token; was it revoked?".to_owned()),
    };
    let visitor = |known: &KnownToken| Visitor {
        name: known.name.clone(),
        operates: known.may(Role::Operate),
        writes: known.may(Role::Write),
    };
    if OPEN_PATHS.contains(&path) {
        return Ok(known.ok().filter(|known| known.may(Role::Read)).map(visitor));
    }
    let known = known.map_err(ApiError::unauthorized)?;
    let needed = needed_role(method, path);
    if known.may(needed) {
        return Ok(Some(visitor(known)));
    }
    let message = format!("token `{}` may not do this: it needs the role `{needed}`", known.name);
    Err(ApiError::new(StatusCode::FORBIDDEN, message))
}

/// The token that a request carries, if any: as bearer, as password of basic authorisation, or in Bosun's header.
fn sent_token(headers: &HeaderMap) -> Option<Result<Token, TokenError>> {
    if let Some(token) = headers.get(ACCESS_TOKEN) {
        return Some(Token::parse(token.to_str().unwrap_or_default()));
    }
    let (scheme, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Token::parse(credentials.trim()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(Err(TokenError::Shape));
    }
    let decoded = BASE64_STANDARD.decode(credentials.trim()).unwrap_or_default();
    let text = String::from_utf8(decoded).unwrap_or_default();
    Some(Token::parse(text.split_once(':').map_or("", |(_, password)| password)))
}

/// The least role that may do this.
pub(crate) fn needed_role(method: &Method, path: &str) -> Role {
    if WRITE_PATHS.contains(&path) {
        return Role::Write;
    }
    if OPERATE_PATHS.contains(&path) {
        return Role::Operate;
    }
    if ADMIN_PATHS.contains(&path) || (method == Method::DELETE && path.starts_with(OWN_API)) {
        return Role::Admin;
    }
    let asks = method == Method::POST && READ_PATHS.contains(&path);
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) || asks;
    if reads { Role::Read } else { Role::Operate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_needs_the_least_role_that_does() {
        let check = |method: Method, path: &str, role: Role| assert_eq!(needed_role(&method, path), role, "{path}");
        check(Method::POST, "/api/tidemark/v1/backup", Role::Admin);
        check(Method::GET, "/api/tidemark/v1/export", Role::Read);
        check(Method::POST, "/api/put", Role::Write);
        check(Method::GET, "/logs", Role::Operate);
        check(Method::GET, "/api/uid/rename", Role::Operate);
        check(Method::GET, "/api/uid/assign", Role::Write);
        check(Method::GET, "/api/uid/tsmeta", Role::Read);
        check(Method::POST, "/api/uid/tsmeta", Role::Operate);
        check(Method::GET, "/q", Role::Read);
        check(Method::POST, "/api/stats/query", Role::Read);
        check(Method::POST, "/api/search/lookup", Role::Read);
        check(Method::POST, "/api/tidemark/v1/queries/7/cancel", Role::Operate);
        check(Method::POST, "/api/query", Role::Read);
        check(Method::POST, "/prometheus/api/v1/query_range", Role::Read);
        check(Method::POST, "/prometheus/api/v1/write", Role::Write);
        check(Method::GET, "/prometheus/api/v1/label/host/values", Role::Read);
        check(Method::POST, "/api/v1/query", Role::Read);
        check(Method::DELETE, "/api/query", Role::Operate);
        check(Method::POST, "/api/query/exp", Role::Read);
        check(Method::GET, "/api/query/gexp", Role::Read);
        check(Method::DELETE, "/api/tidemark/v1/schedules/seal", Role::Admin);
        check(Method::PUT, "/api/tidemark/v1/schedules/seal", Role::Operate);
        check(Method::POST, "/api/tidemark/v1/jobs", Role::Operate);
        check(Method::POST, "/api/tidemark/v1/jobs/purge", Role::Admin);
        check(Method::PUT, "/api/tidemark/v1/uploads/cpu.csv", Role::Operate);
        check(Method::DELETE, "/api/tidemark/v1/uploads/cpu.csv", Role::Admin);
        check(Method::GET, "/api/tidemark/v1/jobs/1/output", Role::Read);
        check(Method::POST, "/api/tidemark/v1/workflows", Role::Operate);
        check(Method::GET, "/", Role::Read);
        check(Method::GET, "/api/ws", Role::Read);
        check(Method::POST, "/api/tidemark/v1/incidents/1/actions", Role::Operate);
        check(Method::POST, "/api/something/new", Role::Operate);
    }

    #[test]
    fn a_token_comes_in_three_ways() {
        let token = Token::generate(&[Role::Read]).unwrap();
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("me:{}", token.text())));
        for (name, value) in [
            ("authorization", format!("Bearer {}", token.text())),
            ("authorization", basic),
            ("x-access-token", token.text().to_owned()),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name.parse().unwrap(), value.parse().unwrap());
            assert_eq!(sent_token(&headers), Some(Ok(token.clone())), "{name}");
        }
        assert_eq!(sent_token(&HeaderMap::new()), None);
    }
}
