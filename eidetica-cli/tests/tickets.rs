use serde_json::{Value as Json, json};

use crate::kit::{Place, airports, until};
use crate::serving::{same, serve, serve_by};

fn text(value: &Json) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_ticket_is_enough_to_join() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let serving = serve_by(&anna, &["--http", "127.0.0.1:0", "--iroh", "127.0.0.1:0"]);
    let shared = anna.json(&["share", "travel"]).remove(0);
    let ticket = text(&shared["ticket"]);
    assert_eq!(shared["invitation"], Json::Null);
    for part in
        ["name=travel", &format!("peer={}", serving.device), &format!("at=http:{}", serving.address), "at=iroh:"]
    {
        assert!(ticket.contains(part), "{part} is not in {ticket}");
    }

    let (code, error) = ben.error(&["join", ticket]);
    assert_eq!((code, &error["kind"]), (5, &json!("Pending")), "{error}");
    until("the request is there", || !anna.json(&["requests"]).is_empty());
    anna.run(&["approve", text(&anna.json(&["requests"])[0]["request"])]).ok();
    let joined = ben.json(&["join", ticket]).remove(0);
    assert_eq!((&joined["name"], &joined["peer"]), (&json!("travel"), &json!(serving.device)), "{joined}");
    // All addresses of the ticket are known from now on.
    assert_eq!(ben.json(&["peers"])[0]["addresses"].as_array().unwrap().len(), 2);
    let _ben = serve(&ben);
    anna.run(&["set", "travel", "airports", "SEA", "by=anna"]).ok();
    until("it comes by itself", || same(&anna, &ben));
}

#[test]
fn an_invitation_lets_in_without_asking_until_it_is_used_up() {
    for scheme in ["sqlite", "redb"] {
        let anna = Place::of(scheme).and_airports();
        let _serving = serve(&anna);
        let shared = anna.json(&["share", "travel", "--invite", "read", "--valid", "1h"]).remove(0);
        let ticket = text(&shared["ticket"]);
        let invitations = anna.json(&["invitations"]);
        assert_eq!((invitations.len(), &invitations[0]["uses_left"]), (1, &json!(1)));
        assert_eq!(invitations[0]["invitation"], shared["invitation"]);

        let (ben, cleo) = (Place::new(), Place::new());
        let joined = ben.json(&["join", ticket]).remove(0);
        assert_eq!((&joined["name"], &joined["permission"]), (&json!("travel"), &json!("Read")));
        let (code, error) = cleo.error(&["join", ticket]);
        assert_eq!((code, &error["kind"]), (5, &json!("Pending")), "{error}");
        assert!(anna.json(&["invitations"]).is_empty());

        // Whoever has asked for less than the invitation gives gets that, and a revoked one gives nothing.
        let ticket = anna.json(&["share", "travel", "--invite", "write", "--uses", "2"]).remove(0);
        let (ticket, id) = (text(&ticket["ticket"]), text(&ticket["invitation"]));
        let joined = cleo.json(&["join", ticket, "--permission", "read"]).remove(0);
        assert_eq!(joined["permission"], "Read");
        assert_eq!(anna.json(&["invitations", "--revoke", &id[8..20]])[0]["revoked"], id);
        let (code, _) = Place::new().error(&["join", ticket]);
        assert_eq!(code, 5);
        assert_eq!(anna.error(&["invitations", "--revoke", id]).0, 3);
    }
}

#[test]
fn what_is_no_ticket_says_so() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let (code, error) = anna.error(&["share", "travel"]);
    assert_eq!((code, &error["kind"]), (1, &json!("Unreachable")), "{error}");
    assert!(text(&error["message"]).contains("eidetica serve"), "{error}");
    {
        let _calls = serve_by(&anna, &[]);
        assert!(text(&anna.error(&["share", "travel"]).1["message"]).contains("lets nobody in"));
    }
    let serving = serve(&anna);
    assert_eq!(anna.error(&["share", "nothing"]).0, 3);
    let drawn = anna.run(&["share", "travel", "--qr"]).ok().out;
    // The margin is light, and so it is drawn.
    let margin = drawn.lines().nth(2).unwrap();
    assert!(margin.chars().count() > 40 && margin.chars().all(|block| block == '█'), "{drawn}");
    let ticket = drawn.lines().next().unwrap();
    for (arguments, problem) in [
        (&["join", "eidetica:nonsense"][..], "id of a database"),
        (&["join", &ticket.replace("peer=", "peer=x")], "key of a device"),
        (&["join", ticket, "travel"], "leave DATABASE out"),
        (&["join", &serving.address], "which database"),
    ] {
        let ended = ben.run(&[&["--json"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(problem), "{arguments:?}: {ended:?}");
    }
    // A device that does not prove the key of the ticket is not asked for anything.
    let other = ticket.replace(&serving.device, &format!("ed25519:{}", "07".repeat(32)));
    let (code, error) = ben.error(&["join", &other]);
    assert_eq!((code, &error["kind"]), (1, &json!("Unauthenticated")), "{error}");
    assert!(anna.json(&["requests"]).is_empty());
}

/// Also of users who have come to be since, whose passwords nobody has to know.
#[test]
fn a_server_honours_what_users_invite_to_who_were_not_there_when_it_began() {
    let anna = Place::new();
    let _serving = serve(&anna);
    anna.import(&airports()).ok();
    anna.run(&["user", "add", "dora"]).ok();
    let file = airports();
    let of_dora =
        ["--user", "dora", "import", file.to_str().unwrap(), "--database", "hers", "--table", "t", "--key", "iata"];
    anna.run(&of_dora).ok();
    for (who, database) in [(&[][..], "travel"), (&["--user", "dora"][..], "hers")] {
        let shared = anna.json(&[who, &["share", database, "--invite", "write"]].concat()).remove(0);
        let joined = Place::new().json(&["join", text(&shared["ticket"])]).remove(0);
        assert_eq!((&joined["name"], &joined["permission"]), (&json!(database), &json!("Write")));
    }
}
