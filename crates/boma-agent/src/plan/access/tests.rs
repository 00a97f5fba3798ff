//! Plans without a server: one thing is changed in what was seen, and the steps are compared.

use boma_instance::{InstanceId, MajorVersion, Power, Resources, Secret};
use boma_postgres::sql::TheDatabase;
use uuid::Uuid;

use super::*;

fn login(role: &str, access: Access) -> LoginSpec {
    LoginSpec {
        role: role.into(),
        access,
        verifier: Some(Secret::new("v".into())),
        comment: role.into(),
    }
}

fn want() -> InstanceSpec {
    InstanceSpec {
        id: InstanceId(Uuid::nil()),
        generation: 1,
        identity: "o/u/e/p/db".into(),
        database: "db".into(),
        version: MajorVersion::V17,
        power: Power::On,
        resources: Resources {
            cpu_millis: 1000,
            memory_bytes: 1 << 30,
            storage_bytes: 1 << 30,
        },
        parameters: BTreeMap::new(),
        extensions: ["hstore".to_owned()].into(),
        logins: vec![
            login("reads", Access::ReadOnly),
            login("writes", Access::ReadWrite),
        ],
        backup: None,
        origin: None,
        drift: boma_instance::Drift::default(),
        storage_class: None,
    }
}

fn role(comment: &str) -> SeenRole {
    SeenRole {
        can_login: false,
        powers: Vec::new(),
        comment: Some(comment.into()),
        password: Password::None,
        settings: BTreeMap::new(),
        connections: 0,
        owns_objects: false,
    }
}

fn open_login(name: &str, setting: (&str, &str)) -> SeenRole {
    SeenRole {
        can_login: true,
        password: Password::AsWanted,
        settings: [(setting.0.to_owned(), setting.1.to_owned())].into(),
        connections: 2,
        ..role(&format!("boma: {name}"))
    }
}

fn member(group: &str, member: &str) -> SeenMembership {
    SeenMembership {
        group: group.into(),
        member: member.into(),
        grantor: "postgres".into(),
        is_plain: true,
    }
}

/// As [`want`] says.
fn seen() -> SeenDatabase {
    let groups = Groups::of("db");
    let mut roles: BTreeMap<_, _> = groups
        .names()
        .into_iter()
        .zip(groups.comments())
        .map(|(name, comment)| (name.to_owned(), role(&comment)))
        .collect();
    roles.insert(
        "reads".into(),
        open_login("reads", ("default_transaction_read_only", "on")),
    );
    roles.insert("writes".into(), open_login("writes", ("role", "db_owner")));
    let mut database = privileges("db_owner", &["CONNECT", "CREATE", "TEMPORARY"]);
    database.extend(privileges("db_writer", &["CONNECT", "TEMPORARY"]));
    database.extend(privileges("db_reader", &["CONNECT"]));
    let defaults = |maker: &str| (maker.to_owned(), default_privileges(&groups, maker));
    SeenDatabase {
        database: Some(TheDatabase {
            owner: "db_owner".into(),
            is_open: true,
            privileges: database,
        }),
        roles,
        memberships: vec![member("db_owner", "writes"), member("db_reader", "reads")],
        orphans: 0,
        objects: Some(SeenObjects {
            extensions: [("hstore".to_owned(), "1.8".to_owned())].into(),
            public_owner: Some("pg_database_owner".into()),
            default_privileges: [defaults("db_owner"), defaults("writes")].into(),
            ..SeenObjects::default()
        }),
    }
}

/// The plan after `change`, as people read it.
fn steps(change: impl FnOnce(&mut InstanceSpec, &mut SeenDatabase)) -> Vec<String> {
    let (mut want, mut seen) = (want(), seen());
    change(&mut want, &mut seen);
    plan(&want, &seen).iter().map(ToString::to_string).collect()
}

fn role_of<'a>(seen: &'a mut SeenDatabase, name: &str) -> &'a mut SeenRole {
    seen.roles.get_mut(name).unwrap()
}

fn objects(seen: &mut SeenDatabase) -> &mut SeenObjects {
    seen.objects.as_mut().unwrap()
}

#[test]
fn in_sync_is_an_empty_plan() {
    assert_eq!(steps(|_, _| {}), [""; 0]);
}

#[test]
fn a_new_cluster_is_brought_up_in_one_plan() {
    let expected = [
        "set groups",
        "make database",
        "set owner and privileges of the database",
        "close large objects to those who only read",
        "set privileges of what db_owner will make",
        "set privileges of 1 object",
        "create extension hstore",
        "set login reads",
        "set login writes",
        "set privileges of what writes will make",
    ];
    assert_eq!(steps(|_, seen| *seen = SeenDatabase::default()), expected);
}

#[test]
fn a_login_that_is_not_asked_for_is_removed_before_anything_is_given() {
    let found = steps(|want, _| {
        want.logins.retain(|login| login.role != "writes");
        want.logins.push(login("new", Access::ReadOnly));
    });
    assert_eq!(found, ["remove login writes", "set login new"]);
}

#[test]
fn a_role_of_somebody_else_is_left_alone() {
    let found = steps(|_, seen| {
        seen.roles.insert(
            "stranger".into(),
            SeenRole {
                can_login: true,
                ..role("mine")
            },
        );
        seen.memberships.push(member("team", "stranger"));
        let mut privilege = privileges("stranger", &["CONNECT"]);
        seen.database
            .as_mut()
            .unwrap()
            .privileges
            .append(&mut privilege);
        assert_eq!(seen.foreign_logins().collect::<Vec<_>>(), ["stranger"]);
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_stranger_in_a_group_is_taken_out() {
    let found = steps(|_, seen| {
        seen.roles.insert("stranger".into(), role("mine"));
        seen.memberships.push(member("db_owner", "stranger"));
    });
    assert_eq!(found, ["take stranger out of db_owner"]);
}

#[test]
fn a_login_whose_rights_change_is_locked_first() {
    let found = steps(|want, _| want.logins[1].access = Access::ReadOnly);
    let expected = [
        "lock login writes and end its connections",
        "take writes out of db_owner",
        "set login writes",
    ];
    assert_eq!(found, expected);
    let found = steps(|want, seen| {
        want.logins[1].access = Access::ReadOnly;
        role_of(seen, "writes").owns_objects = true;
    });
    assert_eq!(found[1], "give what writes owns to the owner group");
    let found = steps(|want, _| want.logins[0].access = Access::ReadWrite);
    let expected = [
        "lock login reads and end its connections",
        "take reads out of db_reader",
        "set login reads",
        "set privileges of what reads will make",
    ];
    assert_eq!(found, expected);
}

/// After a crash between locking and changing, what is left is done without locking again.
#[test]
fn a_locked_login_goes_on_where_it_stopped() {
    let found = steps(|want, seen| {
        want.logins[1].access = Access::ReadOnly;
        let role = role_of(seen, "writes");
        (role.can_login, role.password, role.connections) = (false, Password::None, 0);
    });
    assert_eq!(found, ["take writes out of db_owner", "set login writes"]);
    // Locked, but killed before its connections were ended.
    let found = steps(|want, seen| {
        want.logins[1].access = Access::ReadOnly;
        let role = role_of(seen, "writes");
        (role.can_login, role.password) = (false, Password::None);
    });
    assert_eq!(found[0], "lock login writes and end its connections");
}

#[test]
fn a_new_password_ends_no_connection() {
    let found = steps(|_, seen| role_of(seen, "writes").password = Password::Other);
    assert_eq!(found, ["set login writes"]);
}

#[test]
fn a_login_without_a_verifier_is_locked() {
    let found = steps(|want, _| want.logins[1].verifier = None);
    assert_eq!(
        found,
        [
            "lock login writes and end its connections",
            "set login writes"
        ]
    );
    let found = steps(|want, seen| {
        want.logins[1].verifier = None;
        let role = role_of(seen, "writes");
        (role.can_login, role.password, role.connections) = (false, Password::None, 0);
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn what_a_login_is_in_spite_of_its_spec_is_taken() {
    let found = steps(|_, seen| role_of(seen, "reads").powers = vec!["SUPERUSER".into()]);
    assert_eq!(
        found,
        [
            "lock login reads and end its connections",
            "set login reads"
        ]
    );
    let found = steps(|_, seen| seen.memberships.push(member("pg_monitor", "reads")));
    let expected = [
        "lock login reads and end its connections",
        "take reads out of pg_monitor",
        "set login reads",
    ];
    assert_eq!(found, expected);
    let found = steps(|_, seen| seen.memberships[0].is_plain = false);
    assert_eq!(found[1], "take writes out of db_owner");
    let found = steps(|_, seen| drop(seen.memberships.remove(0)));
    assert_eq!(
        found,
        ["set login writes"],
        "what is only missing is given without ado"
    );
}

#[test]
fn groups_stay_groups() {
    for (change, expected) in [
        (
            (|role| role.can_login = true) as fn(&mut SeenRole),
            vec!["lock login db_owner and end its connections"],
        ),
        (|role| role.comment = None, vec!["set groups"]),
        (|role| role.password = Password::Other, vec!["set groups"]),
        (
            |role| role.powers = vec!["CREATEROLE".into()],
            vec!["set groups"],
        ),
    ] {
        assert_eq!(steps(|_, seen| change(role_of(seen, "db_owner"))), expected);
    }
    let found = steps(|_, seen| role_of(seen, "db_writer").owns_objects = true);
    assert_eq!(found, ["give what db_writer owns to the owner group"]);
    let found = steps(|_, seen| role_of(seen, "db_owner").owns_objects = true);
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_database_is_set_right() {
    let database =
        |change: fn(&mut TheDatabase)| steps(|_, seen| change(seen.database.as_mut().unwrap()));
    let expected = ["set owner and privileges of the database"];
    assert_eq!(
        database(|database| database.owner = "postgres".into()),
        expected
    );
    assert_eq!(database(|database| database.is_open = false), expected);
    assert_eq!(
        database(|database| drop(database.privileges.pop_first())),
        expected
    );

    let (want, mut seen) = (want(), seen());
    let privileges = &mut seen.database.as_mut().unwrap().privileges;
    for grantee in [None, Some("reads"), Some("stranger")] {
        let grantee = grantee.map(str::to_owned);
        privileges.insert(Privilege {
            grantee,
            kind: "CREATE".into(),
            grantable: false,
        });
    }
    let revoke_from = vec![None, Some("reads".to_owned())];
    assert_eq!(
        plan(&want, &seen),
        [AccessStep::SetDatabase { revoke_from }]
    );
}

#[test]
fn a_closed_database_is_opened_before_its_inside_is_looked_at() {
    let found = steps(|_, seen| {
        seen.database.as_mut().unwrap().is_open = false;
        seen.objects = None;
    });
    assert_eq!(found[0], "set owner and privileges of the database");
    assert!(
        !found.iter().any(|step| step.contains("extension")),
        "{found:?}"
    );
}

#[test]
fn what_is_inside_is_set_right() {
    let object = SeenObject {
        kind: ObjectKind::Table,
        schema: Some("public".into()),
        name: "t".into(),
    };
    let (one, other) = (object.clone(), object);
    assert_eq!(
        steps(|_, seen| objects(seen).public_owner = Some("postgres".into())),
        ["give schema public to the owner"]
    );
    assert_eq!(steps(|_, seen| objects(seen).public_owner = None), [""; 0]);
    assert_eq!(
        steps(|_, seen| objects(seen).large_objects_open = true),
        ["close large objects to those who only read"]
    );
    assert_eq!(
        steps(|_, seen| drop(objects(seen).default_privileges.remove("db_owner"))),
        ["set privileges of what db_owner will make"]
    );
    assert_eq!(
        steps(|_, seen| objects(seen).superusers = vec![one]),
        ["give 1 object to the owner group"]
    );
    assert_eq!(
        steps(|_, seen| objects(seen).wrong_privileges = vec![other]),
        ["set privileges of 1 object"]
    );
    assert_eq!(
        steps(|_, seen| objects(seen).extensions.clear()),
        ["create extension hstore"]
    );
    assert_eq!(
        steps(|want, _| want.extensions.clear()),
        [""; 0],
        "none is ever dropped"
    );
    assert_eq!(
        steps(|_, seen| seen.orphans = 1),
        ["end connections of roles that are gone"]
    );
}

/// A login that is to be made is not there to take anything from.
#[test]
fn only_logins_that_exist_are_named_in_revocations() {
    let (mut want, mut seen) = (want(), seen());
    want.logins.push(login("new", Access::ReadOnly));
    objects(&mut seen).wrong_privileges = vec![SeenObject {
        kind: ObjectKind::Schema,
        schema: None,
        name: "public".into(),
    }];
    let steps = plan(&want, &seen);
    let Some(AccessStep::SetPrivileges { readers, .. }) = steps.first() else {
        panic!("{steps:?}");
    };
    assert_eq!(*readers, ["reads"]);
}

/// What is done after `change` although changes by hand are left, as people read it.
fn steps_all_the_same(change: impl FnOnce(&mut SeenDatabase)) -> Vec<String> {
    let mut seen = seen();
    change(&mut seen);
    let (want, enforced) = (want(), enforced(&want(), &seen));
    let all = plan(&want, &seen);
    assert!(
        enforced.iter().all(|step| all.contains(step)),
        "{enforced:?}, {all:?}"
    );
    assert_ne!(all, [], "nothing was changed");
    enforced.iter().map(ToString::to_string).collect()
}

#[test]
fn what_roles_may_do_is_left_where_changes_by_hand_are() {
    type Change = fn(&mut SeenDatabase);
    let changes: [Change; 9] = [
        |seen| role_of(seen, "reads").powers = vec!["SUPERUSER".into()],
        |seen| seen.memberships = vec![member("db_reader", "reads")],
        |seen| seen.memberships.push(member("db_owner", "analyst")),
        |seen| role_of(seen, "writes").settings = BTreeMap::new(),
        |seen| role_of(seen, "db_owner").powers = vec!["CREATEDB".into()],
        |seen| drop(seen.database.as_mut().unwrap().privileges.pop_first()),
        |seen| objects(seen).large_objects_open = true,
        |seen| objects(seen).extensions.clear(),
        |seen| drop(objects(seen).default_privileges.pop_first()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(steps_all_the_same(change), [""; 0], "change {number}");
    }
}

#[test]
fn who_may_connect_is_put_right_where_changes_by_hand_are_left() {
    let locked = steps_all_the_same(|seen| role_of(seen, "writes").can_login = false);
    assert_eq!(locked, ["set login writes"]);
    let password = steps_all_the_same(|seen| role_of(seen, "reads").password = Password::Other);
    assert_eq!(password, ["set login reads"]);
    let gone = steps_all_the_same(|seen| {
        seen.roles.remove("reads");
        seen.memberships.retain(|one| one.member != "reads");
    });
    assert_eq!(gone, ["set login reads"]);
    let stranger = steps_all_the_same(|seen| {
        seen.roles
            .insert("former".into(), open_login("former", ("role", "db_owner")));
    });
    assert_eq!(stranger, ["remove login former"]);
    let group = steps_all_the_same(|seen| role_of(seen, "db_reader").can_login = true);
    assert_eq!(group, ["lock login db_reader and end its connections"]);
}

#[test]
fn the_outline_of_access_stays_while_passwords_take_turns() {
    let before = outline(&want());
    let mut locked = want();
    locked.logins[0].verifier = None;
    locked.generation += 1;
    assert_eq!(outline(&locked), before);
    let mut second = want();
    second.logins.push(LoginSpec {
        role: "writes_2".into(),
        ..login("writes", Access::ReadWrite)
    });
    assert_eq!(outline(&second), before);
    let mut narrower = want();
    narrower.logins[1].access = Access::ReadOnly;
    assert_ne!(outline(&narrower), before);
    let mut without = want();
    without.extensions.clear();
    assert_ne!(outline(&without), before);
}
