//! Tests tokens and roles from the view of a user.

use super::harness::{Run, Sandbox};
use super::serving::Served;

#[test]
fn roles_let_through_what_they_should_and_say_why_not() {
    let sandbox = Sandbox::new("http_tokens");
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup("st", "d");
    let tokens = sandbox.path("tokens").display().to_string();
    let add = |name: &str| {
        let words = [
            "server", "token", "add", name, "-role", name, "-tokens", &tokens,
        ];
        let printed = sandbox.run(&words).ended(0).stdout();
        printed.trim().to_owned()
    };
    let given = ["read", "append", "full"].map(add);
    let server = Served::new(
        &sandbox.path("st"),
        0,
        &["-tokens", &tokens, "-allow-delete"],
    );
    for (role, token) in ["read", "append", "full"].iter().zip(&given) {
        let token = format!("auth_token={token}");
        sandbox
            .run(&["store", "add", role, &server.url, &token])
            .ended(0);
    }
    sandbox
        .run(&["store", "add", "wrong", &server.url, "auth_token=abc"])
        .ended(0);
    sandbox.run(&["store", "add", "none", &server.url]).ended(0);
    let one_line = |run: Run, words: &str| {
        let run = run.ended(77).says(words);
        assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    };
    let run = |words: &[&str]| sandbox.run(words);
    one_line(
        run(&["at", "@none", "ls"]),
        "the server wants a token: set auth_token\n",
    );
    let unknown = "the server does not know this token: set another auth_token\n";
    one_line(run(&["at", "@wrong", "ls"]), unknown);
    run(&["at", "@read", "cat", "latest:a"])
        .ended(0)
        .prints_just("hello");
    run(&["at", "@read", "check"]).ended(0);
    sandbox.write("d/b", b"more");
    one_line(run(&["at", "@read", "backup", "d"]), &server.url);
    run(&["at", "@append", "backup", "d"]).ended(0);
    one_line(
        run(&["at", "@append", "rm", "-apply", &id]),
        "delete snapshot ",
    );
    run(&["at", "@full", "rm", "-apply", &id]).ended(0);
    let with_command = format!("auth_token_cmd=printf %s {}", given[0]);
    run(&["store", "add", "cmd", &server.url, &with_command]).ended(0);
    run(&["at", "@cmd", "ls"]).ended(0);
}
