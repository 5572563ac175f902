//! One table of all routes of all contracts, out of their documents: none is added, lost or moved unseen, and no path can
//! mean two of them.

use crate::world::World;
use serde_json::Value;
use std::fmt::Write as _;

const CONTRACTS: [&str; 4] = ["v1", "organization", "apps", "subscriptions"];

/// A route: the contract, the path's segments, the method.
type Route = (&'static str, Vec<String>, String);

async fn routes() -> Vec<Route> {
    let world = World::start().await;
    let mut routes = Vec::new();
    for contract in CONTRACTS {
        let ask = world.with_headers(vec![]);
        let document = ask.get(&format!("/openapi/{contract}.json")).await.expect(200);
        for (path, item) in document["paths"].as_object().unwrap() {
            let segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
            let methods = item.as_object().unwrap().keys();
            routes.extend(methods.map(|method| (contract, segments.clone(), method.to_uppercase())));
        }
    }
    routes
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// Can one path be both?
fn overlap(one: &[String], other: &[String]) -> bool {
    let meet = |(one, other): (&String, &String)| one == other || is_parameter(one) || is_parameter(other);
    one.len() == other.len() && one.iter().zip(other).all(meet)
}

#[tokio::test]
async fn all_routes_of_all_contracts() {
    let mut table = String::new();
    for (contract, segments, method) in routes().await {
        writeln!(table, "{contract:<13} {method:<6} /{}", segments.join("/")).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[tokio::test]
async fn no_path_belongs_to_two_contracts() {
    let routes = routes().await;
    for (contract, segments, _) in &routes {
        for (other, others, _) in &routes {
            let apart = contract == other || !overlap(segments, others);
            assert!(
                apart,
                "{contract} /{} and {other} /{}",
                segments.join("/"),
                others.join("/")
            );
        }
    }
}

#[tokio::test]
async fn the_native_document_is_where_programs_look_for_one() {
    let world = World::start().await;
    let ask = world.with_headers(vec![]);
    let native: Value = ask.get("/openapi.json").await.expect(200);
    assert_eq!(native, ask.get("/openapi/v1.json").await.expect(200));
}
