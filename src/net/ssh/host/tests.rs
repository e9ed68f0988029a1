use super::*;

fn hop(host: &str) -> Hop {
    Hop {
        user: None,
        host: host.to_owned(),
        port: None,
    }
}

/// Resolves `host` with the configuration `config` and options modified by `change`.
fn resolved(config: &str, host: &str, change: impl FnOnce(&mut Options)) -> Result<Host> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), config).unwrap();
    let mut options = Options {
        home: Some("/home/me".into()),
        config: Some(file.path().to_owned()),
        agent: Some("/run/agent".into()),
        ..Options::default()
    };
    change(&mut options);
    Host::resolve(&hop(host), Role::Target, &options)
}

#[test]
fn without_a_configuration_it_is_as_ssh_has_it() {
    let host = resolved("", "nas", |_| {}).unwrap();
    assert_eq!((host.name.as_str(), host.port), ("nas", 22));
    assert_eq!(host.key_name, "nas");
    assert_eq!(host.identities[0], Path::new("/home/me/.ssh/id_rsa"));
    assert_eq!(
        host.user_known_hosts[0],
        Path::new("/home/me/.ssh/known_hosts")
    );
    assert_eq!((host.strict, host.route), (Strict::Ask, Route::Direct));
    assert_eq!(host.agent, Some("/run/agent".into()));
    assert_eq!(host.connect_timeout, CONNECT_TIMEOUT);
}

#[test]
fn an_alias_is_all_that_the_configuration_says() {
    let config = "Host nas\nHostName %h.lan\nUser bob\nPort 2222\nIdentityFile ~/.ssh/%r@%h-%p\n\
                  IdentityFile /keys/%n%%\nIdentitiesOnly yes\nIdentityAgent none\n\
                  UserKnownHostsFile ~/a /b\nGlobalKnownHostsFile none\n\
                  StrictHostKeyChecking accept-new\nHashKnownHosts yes\n\
                  ConnectTimeout 5\nServerAliveInterval 2\nServerAliveCountMax 4\n";
    let host = resolved(config, "nas", |_| {}).unwrap();
    assert_eq!(
        (host.name.as_str(), host.port, host.user.as_str()),
        ("nas.lan", 2222, "bob")
    );
    assert_eq!(host.key_name, "[nas.lan]:2222");
    let identities = ["/home/me/.ssh/bob@nas.lan-2222", "/keys/nas%"].map(PathBuf::from);
    assert_eq!(
        (host.identities, host.identities_only),
        (identities.to_vec(), true)
    );
    assert_eq!(
        host.user_known_hosts,
        ["/home/me/a", "/b"].map(PathBuf::from)
    );
    assert!(host.global_known_hosts.is_empty() && host.agent.is_none());
    assert_eq!(
        (host.strict, host.names),
        (Strict::AcceptNew, known_hosts::Names::Hashed)
    );
    let seconds = |time: Duration| time.as_secs();
    assert_eq!(
        (seconds(host.connect_timeout), seconds(host.alive_interval)),
        (5, 2)
    );
    assert_eq!(host.alive_count, 4);
}

#[test]
fn what_is_said_with_the_location_wins() {
    let config =
        "User bob\nPort 2222\nIdentityFile /keys/a\nUserKnownHostsFile /b\nHostKeyAlias Tape\n";
    let host = resolved(config, "nas", |options| {
        options.username = Some("eve".to_owned());
        options.port = Some(23);
        options.identity = Some("/keys/e".into());
        options.known_hosts = Some("/known".into());
    });
    let host = host.unwrap();
    assert_eq!((host.user.as_str(), host.port), ("eve", 23));
    assert_eq!(
        (host.identities, host.identities_only),
        (vec!["/keys/e".into()], true)
    );
    assert_eq!(host.user_known_hosts, [PathBuf::from("/known")]);
    assert!(host.global_known_hosts.is_empty());
    assert_eq!(host.key_name, "tape");
}

#[test]
fn what_is_meant_for_the_target_is_not_for_a_hop() {
    let options = Options {
        home: Some("/home/me".into()),
        config: Some("/dev/null".into()),
        username: Some("eve".to_owned()),
        port: Some(23),
        identity: Some("/keys/e".into()),
        ..Options::default()
    };
    // A special file is not read as a configuration file.
    assert!(Host::resolve(&hop("gate"), Role::Hop, &options).is_err());
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = Options {
        config: Some(file.path().to_owned()),
        ..options
    };
    let host = Host::resolve(&hop("gate"), Role::Hop, &options).unwrap();
    assert!(host.user != "eve" && host.port == 22 && host.identities.len() == 3);
}

#[test]
fn there_are_ways_around() {
    let route = |config: &str| resolved(config, "nas", |_| {}).unwrap().route;
    assert_eq!(
        route("HostName n.lan\nProxyCommand nc -x 'a b' %h %p\n"),
        Route::Command("nc -x 'a b' n.lan 22".to_owned())
    );
    let gate = Hop {
        user: Some("u".to_owned()),
        host: "::1".to_owned(),
        port: Some(2222),
    };
    assert_eq!(
        route("ProxyJump u@[::1]:2222,gate\nProxyCommand x\n"),
        Route::Jump(vec![gate, hop("gate")])
    );
    assert_eq!(route("ProxyJump none\nProxyCommand x\n"), Route::Direct);
    assert_eq!(route("ProxyCommand none\n"), Route::Direct);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_line() {
    for (config, words) in [
        ("Port x\n", ":1: port cannot be \"x\""),
        ("\nIdentityFile %y\n", ":2: %y is not known here"),
        (
            "StrictHostKeyChecking maybe\n",
            "stricthostkeychecking cannot be \"maybe\"",
        ),
        ("IdentitiesOnly 1\n", "identitiesonly cannot be"),
        ("ProxyJump a:b:c\n", "is not a jump host"),
        ("ProxyJump -oProxyCommand=x\n", "is not a jump host"),
        ("ProxyJump a,a,a,a,a,a,a,a,a\n", "more than 8 hosts"),
    ] {
        let error = resolved(config, "nas", |_| {}).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}
