//! MCP servers, their tools and their calls on the wire.

use models::mcp::{Approval, McpError, McpServer, McpTool, ToolFilter};

use super::*;
use crate::call::{McpCall, Progress};

fn update(session: &mut Realtime, tools: Value) -> Result<Toolset, CallError> {
    let event = json!({ "type": "session.update", "session": { "type": "realtime", "tools": tools } });
    session.receive(&event.to_string()).map(|_| session.config().tools.clone())
}

fn server(tool: Value) -> McpServer {
    update(&mut realtime(), json!([tool])).expect("it is right").servers.remove(0)
}

fn names(names: &[&str]) -> ToolFilter {
    ToolFilter { names: Some(names.iter().map(|name| (*name).to_owned()).collect()), read_only: None }
}

#[test]
fn a_server_is_read_with_every_field() {
    let mut tool = json!({ "type": "mcp", "server_label": "docs", "server_url": "https://mcp.example.com/mcp" });
    let plain = server(tool.clone());
    assert_eq!((plain.label.as_str(), plain.url.reveal()), ("docs", "https://mcp.example.com/mcp"));
    assert_eq!((plain.authorization, plain.headers, plain.allowed, plain.approval), (None, Vec::new(), None, Approval::Always));
    let never = |filter: Value| json!({ "never": filter });
    for (allowed, approval, expected) in [
        (json!(["a"]), json!("never"), (Some(names(&["a"])), Approval::Never)),
        (
            json!({ "tool_names": ["a"] }),
            never(json!({ "tool_names": ["b"] })),
            (Some(names(&["a"])), Approval::Except { never: names(&["b"]), always: None }),
        ),
        (
            json!({ "read_only": true }),
            json!({ "always": { "tool_names": ["b"] } }),
            (Some(ToolFilter { names: None, read_only: Some(true) }), Approval::Always),
        ),
        (Value::Null, Value::Null, (None, Approval::Always)),
    ] {
        (tool["allowed_tools"], tool["require_approval"]) = (allowed, approval);
        let read = server(tool.clone());
        assert_eq!((read.allowed, read.approval), expected, "{tool}");
    }
}

#[test]
fn what_is_wrong_with_a_server_is_explained_without_its_keys() {
    let good = json!({ "type": "mcp", "server_label": "docs", "server_url": "https://mcp.example.com/mcp" });
    for (change, field) in [
        (json!({ "connector_id": "connector_gmail" }), "connector_id"),
        (json!({ "tunnel_id": "tunnel_0" }), "tunnel_id"),
        (json!({ "server_label": "two words" }), "server_label"),
        (json!({ "server_label": "x".repeat(33) }), "server_label"),
        (json!({ "server_url": null }), "server_url"),
        (json!({ "server_url": "ftp://mcp.example.com" }), "server_url"),
        (json!({ "authorization": 5 }), "authorization"),
        (json!({ "authorization": "t", "headers": { "Authorization": "sesame" } }), "authorization"),
        (json!({ "headers": { "host": "sesame" } }), "headers"),
        (json!({ "headers": { "mcp-session-id": "sesame" } }), "headers"),
        (json!({ "headers": { "x-key": "sesame\r\nx: y" } }), "headers"),
        (json!({ "allowed_tools": 5 }), "allowed_tools"),
        (json!({ "require_approval": "perhaps" }), "require_approval"),
        (json!({ "server_lable": "x" }), "server_lable"),
    ] {
        let mut tool = good.clone();
        tool.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let error = update(&mut realtime(), json!([tool])).expect_err(field);
        assert_eq!(error.param.as_deref(), Some(format!("session.tools[0].{field}").as_str()), "{}", error.message);
        assert!(!error.message.contains("sesame"), "{}", error.message);
    }
    let twice = update(&mut realtime(), json!([good, good])).expect_err("one label for two");
    assert_eq!(twice.param.as_deref(), Some("session.tools[1].server_label"));
    let many: Vec<Value> = (0..9)
        .map(|number| json!({ "type": "mcp", "server_label": format!("s{number}"), "server_url": "https://mcp.example.com/mcp" }))
        .collect();
    assert_eq!(update(&mut realtime(), json!(many)).expect_err("too many").param.as_deref(), Some("session.tools[8].server_label"));
}

#[test]
fn keys_are_not_told_back_and_what_is_told_back_may_be_sent_again() {
    let mut session = realtime();
    let tool = json!({
        "type": "mcp",
        "server_label": "docs",
        "server_url": "https://mcp.example.com/mcp?key=sesame",
        "authorization": "sesame",
        "headers": { "x-key": "sesame" },
        "require_approval": "never",
        "allowed_tools": ["a"],
    });
    let first = update(&mut session, json!([tool])).expect("it is right");
    let told = session.send(&Event::Updated).remove(0);
    assert!(!told.contains("sesame"), "{told}");
    let echo = session.session_json()["tools"].clone();
    assert_eq!(echo[0]["headers"], json!({ "x-key": "***" }));
    assert_eq!(update(&mut session, echo).expect("it is right"), first, "as it was told back");
    let label = json!([{ "type": "mcp", "server_label": "docs" }]);
    assert_eq!(update(&mut session, label.clone()).expect("it is right"), first, "by its label");
    let aside = json!({ "type": "response.create", "response": { "tools": label, "conversation": "none" } });
    let error = session.receive(&aside.to_string()).expect_err("no servers there");
    assert_eq!(error.code, "unsupported_tool");
    // At another place it is another server, which is not told the keys of this one.
    let moved =
        json!([{ "type": "mcp", "server_label": "docs", "server_url": "https://evil.example.com/mcp", "headers": { "x-key": "***" } }]);
    let moved = update(&mut session, moved).expect("it is right").servers.remove(0);
    assert_eq!((moved.authorization, moved.headers[0].1.reveal()), (None, "***"));
}

#[test]
fn a_tool_of_a_server_can_be_chosen() {
    let mut session = realtime();
    let choice = json!({ "type": "mcp", "server_label": "docs", "name": "search" });
    let event = json!({ "type": "session.update", "session": { "type": "realtime", "tool_choice": choice } });
    session.receive(&event.to_string()).expect("it is right");
    assert_eq!((session.config().tool_choice.clone(), session.session_json()["tool_choice"].clone()), (Some(choice.clone()), choice));
}

#[test]
fn items_and_events_are_told_as_openai_does() {
    let item = |content| Item { id: "item_1".to_owned(), content, status: Status::Completed };
    let told = |content| super::super::item::to_json(&item(content));
    let tool = McpTool { name: "a".into(), description: None, schema: serde_json::Map::new(), annotations: None };
    let tools = json!([{ "name": "a", "description": "", "input_schema": {}, "annotations": null }]);
    assert_eq!(
        told(ItemContent::McpTools { server: "docs".into(), listed: Some(Ok(vec![tool])) }),
        json!({ "id": "item_1", "type": "mcp_list_tools", "server_label": "docs", "tools": tools })
    );
    let gone = McpError::Http { status: 502, message: "gone".into() };
    assert_eq!(
        told(ItemContent::McpTools { server: "docs".into(), listed: Some(Err(gone.clone())) })["error"],
        json!({ "type": "http_error", "code": 502, "message": "gone" })
    );
    let call = |outcome| {
        ItemContent::McpCall(Box::new(McpCall {
            server: "docs".into(),
            tool: "a".into(),
            called: "docs_a".into(),
            arguments: "{}".into(),
            approval: None,
            outcome,
        }))
    };
    for (outcome, output, error) in [
        (None, Value::Null, Value::Null),
        (Some(Ok("4".to_owned())), json!("4"), Value::Null),
        (Some(Err(McpError::Execution { message: "no".into() })), Value::Null, json!({ "type": "tool_execution_error", "message": "no" })),
        (
            Some(Err(McpError::Protocol { code: -32_602, message: "no".into() })),
            Value::Null,
            json!({ "type": "protocol_error", "code": -32602, "message": "no" }),
        ),
    ] {
        let json = told(call(outcome));
        assert_eq!((&json["name"], &json["output"], &json["error"]), (&json!("a"), &output, &error));
    }
    let place = || place();
    for (event, kind) in [
        (Event::McpListed { item: "item_1".into(), progress: Progress::Failed }, "mcp_list_tools.failed"),
        (Event::McpCallDelta { place: place(), delta: "{}".into() }, "response.mcp_call_arguments.delta"),
        (Event::McpCallDone { place: place(), arguments: "{}".into() }, "response.mcp_call_arguments.done"),
        (Event::McpCalled { place: place(), progress: Progress::Completed }, "response.mcp_call.completed"),
    ] {
        let told: Value = serde_json::from_str(&realtime().send(&event)[0]).expect("JSON");
        assert_eq!((&told["type"], &told["item_id"]), (&json!(kind), &json!("item_1")));
    }
    let approve = json!({ "type": "mcp_approval_response", "approval_request_id": "item_1", "approve": false, "reason": "no" });
    let Ok(Command::Create { item, .. }) = receive(json!({ "type": "conversation.item.create", "item": approve })) else { panic!("right") };
    assert_eq!(item.content, ItemContent::McpApprovalResponse { request: "item_1".into(), approve: false, reason: Some("no".into()) });
}
