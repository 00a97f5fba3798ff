//! The description of the API, for people: the same document, as a page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::{DESCRIPTION, SCHEMAS};
use crate::access::Session;
use crate::pages::{self, Place};
use crate::site::Site;

/// Shows what can be asked for, and what is answered.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Markup {
    pages::page(&site, &session, ("API", Place::Api), &content(&DESCRIPTION))
}

fn content(description: &Value) -> Markup {
    let paths = fields(&description["paths"]);
    let operations = paths.flat_map(|(path, methods)| {
        let methods = fields(methods);
        methods.map(move |(method, operation)| (method, path, operation))
    });
    html! {
        h1 { "API" }
        p {
            (text(&description["info"]["description"])) " "
            a href="/api/openapi.json" { "OpenAPI " (text(&description["openapi"])) }
        }
        section class="card" {
            h2 { "Who may ask" }
            p { "Whoever is signed in, and programs with a token:" }
            pre tabindex="0" { code { "TOKEN=$(boma dashboard --token)\ncurl -H \"Authorization: Bearer $TOKEN\" http://ADDRESS/api/v1/databases" } }
        }
        @for (method, path, one) in operations { (operation(method, path, one)) }
        @for (name, schema) in fields(&description["components"]["schemas"]) {
            section class="card" id=(name) {
                h2 { code { (name) } }
                (shape(schema))
            }
        }
    }
}

fn operation(method: &str, path: &str, operation: &Value) -> Markup {
    let parameters = operation["parameters"].as_array();
    html! {
        section class="card" id=(text(&operation["operationId"])) {
            h2 { code { (method.to_uppercase()) " " (path) } }
            p { (text(&operation["summary"])) }
            @if let Some(parameters) = parameters {
                table {
                    thead { tr { th scope="col" { "Parameter" } th scope="col" { "In" } th scope="col" { "What" } th scope="col" { "Meaning" } } }
                    tbody {
                        @for one in parameters {
                            tr {
                                th scope="row" { code { (text(&one["name"])) } }
                                td { (text(&one["in"])) }
                                td { (kind(&one["schema"])) }
                                td { (text(&one["description"])) }
                            }
                        }
                    }
                }
            }
            table {
                thead { tr { th scope="col" { "Answer" } th scope="col" { "What" } th scope="col" { "Meaning" } } }
                tbody {
                    @for (status, answer) in fields(&operation["responses"]) {
                        tr {
                            th scope="row" { (if status == "default" { "any other" } else { status }) }
                            td { @for (_, body) in fields(&answer["content"]) { (kind(&body["schema"])) } }
                            td { (text(&answer["description"])) }
                        }
                    }
                }
            }
        }
    }
}

/// What a schema says: its fields, or what else it is.
fn shape(schema: &Value) -> Markup {
    html! {
        @for part in text(&schema["description"]).split("\n\n").filter(|part| !part.is_empty()) { p { (part) } }
        @if schema["properties"].is_object() {
            table {
                thead { tr { th scope="col" { "Field" } th scope="col" { "What" } th scope="col" { "Meaning" } } }
                tbody { (rows("", schema)) }
            }
        } @else if let Some(ways) = ways(schema) {
            ul { @for one in ways { li { (kind(one)) " " (text(&one["description"])) } } }
        } @else {
            p { (kind(schema)) }
        }
    }
}

/// The fields of a schema, and those within them that have no name of their own.
fn rows(above: &str, schema: &Value) -> Markup {
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
    html! {
        @for (own, field) in fields(&schema["properties"]) {
            @let name = format!("{above}{own}");
            tr {
                th scope="row" { code { (name) } }
                td { (kind(field)) @if !is_required(own) { span class="muted" { ", or left out" } } }
                td { (text(&field["description"])) }
            }
            (rows(&format!("{name}."), field))
            (rows(&format!("{name}[]."), &field["items"]))
        }
    }
}

/// The alternatives of a schema, if it has any.
fn ways(schema: &Value) -> Option<&Vec<Value>> {
    schema["oneOf"].as_array().or(schema["anyOf"].as_array())
}

/// What a value is, in few words.
fn kind(schema: &Value) -> Markup {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference
            .trim_start_matches('#')
            .trim_start_matches(SCHEMAS);
        let name = name.trim_start_matches('/');
        return html! { a href={ "#" (name) } { code { (name) } } };
    }
    if let Some(ways) = ways(schema).or(schema["allOf"].as_array()) {
        return html! { @for (index, one) in ways.iter().enumerate() { @if index > 0 { " or " } (kind(one)) } };
    }
    let values = schema["enum"].as_array().into_iter().flatten();
    let values: Vec<&Value> = values.chain(schema.get("const")).collect();
    if !values.is_empty() {
        return html! { @for (index, one) in values.iter().enumerate() { @if index > 0 { " or " } code { (one) } } };
    }
    let names = &schema["type"];
    let names = match names.as_array() {
        Some(all) => all.iter().map(text).collect(),
        None => vec![text(names)],
    };
    html! {
        @for (index, name) in names.iter().enumerate() {
            @if index > 0 { " or " }
            @match *name {
                "array" => { "list of " (kind(&schema["items"])) }
                "object" if schema["additionalProperties"].is_object() => { "map to " (kind(&schema["additionalProperties"])) }
                "" if schema["properties"].is_object() => { "object" }
                "" => { "anything" }
                other => { (other) }
            }
        }
        @if let Some(format) = schema["format"].as_str().filter(|one| one.starts_with("date")) { " (" (format) ")" }
        @if let Some((least, most)) = schema["minimum"].as_i64().zip(schema["maximum"].as_i64()) { " from " (least) " to " (most) }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_the_page_leads_to_a_part_of_it() {
        let page = content(&DESCRIPTION).into_string();
        let links: Vec<&str> = page.split("href=\"#").skip(1).collect();
        assert!(links.len() > 20, "{}", links.len());
        for link in links {
            let name = link.split('"').next().unwrap();
            assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        }
        for part in [
            "GET /api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}",
            "integer from 1 to 500",
            "id=\"DatabaseComputed\"",
            "backupConfig.retentionDays",
            "Names a database: project identity",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }
}
