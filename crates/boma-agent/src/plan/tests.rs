use boma_instance::backup::{Origin, RecoveryTarget};
use boma_instance::settings;
use boma_instance::wal::Timeline;
use boma_instance::{Access, LoginSpec, Secret};

use super::*;
use crate::testing::assignment;

fn paths() -> Paths {
    Paths {
        conf: settings::Paths {
            data: "/i/data".into(),
            sockets: "/run/i".into(),
            tls: "/i/tls".into(),
            boma: "/b/boma".into(),
        },
        system_user: "postgres".into(),
    }
}

/// Nothing was made yet.
fn nothing() -> Observed {
    Observed {
        data: Data::Missing,
        made_before: false,
        reached: None,
        programs: Ok("15.18".into()),
        files: Files::default(),
        server: Server::Down,
        recovery: None,
        archive_ended: None,
        storage: None,
    }
}

/// Made, configured as `want` says, and stopped.
fn made(want: &Assignment) -> Observed {
    Observed {
        data: Data::Whole {
            version: MajorVersion::V15,
        },
        made_before: true,
        files: files::wanted(want, &paths()),
        ..nothing()
    }
}

/// Made, configured as `want` says, and running with that configuration.
fn up(want: &Assignment) -> Observed {
    let server = SeenServer {
        version: "15.18".into(),
        system_identifier: 7,
        started_at: jiff::Timestamp::UNIX_EPOCH,
        in_recovery: false,
        configuration: Some(files::wanted(want, &paths()).fingerprint().to_owned()),
        pending_restart: Vec::new(),
        refused: Vec::new(),
        overridden: Vec::new(),
    };
    let up = Up {
        pid: 1,
        server,
        database: SeenDatabase::default(),
        activity: None,
    };
    Observed {
        server: Server::Up(Box::new(up)),
        ..made(want)
    }
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| {
            step.to_string()
                .split(" (")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

fn code(plan: &Plan) -> &str {
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    &plan.blocked[0].code
}

fn with(seen: Observed, change: impl FnOnce(&mut Up)) -> Observed {
    let Server::Up(mut up) = seen.server.clone() else {
        return seen;
    };
    change(&mut up);
    Observed {
        server: Server::Up(up),
        ..seen
    }
}

#[test]
fn the_first_plan_makes_everything() {
    let plan = plan(&assignment(1), &nothing(), &paths());
    assert_eq!(
        words(&plan),
        [
            "make data directory",
            "remember that the data directory was made",
            "write pg_hba.conf, pg_ident.conf, postgresql.conf",
            "start server",
            "bring access up to date"
        ]
    );
}

#[test]
fn a_data_directory_of_somebody_else_is_never_touched() {
    let seen = Observed {
        data: Data::NotOurs {
            why: "a cluster".into(),
        },
        ..nothing()
    };
    let plan = plan(&assignment(1), &seen, &paths());
    assert_eq!(code(&plan), "data-not-ours");
    assert!(
        plan.blocked[0].message.contains("`/i/data`"),
        "{}",
        plan.blocked[0]
    );
    assert!(plan.blocked[0].hints[0].contains("did not make"));
}

#[test]
fn a_lost_data_directory_is_not_replaced_by_an_empty_one() {
    let seen = Observed {
        made_before: true,
        ..nothing()
    };
    let plan = plan(&assignment(1), &seen, &paths());
    assert_eq!(code(&plan), "data-lost");
    assert!(plan.blocked[0].hints[0].contains("no empty database in place of a lost one"));
}

#[test]
fn another_major_version_waits_for_a_person_and_touches_nothing() {
    let seen = Observed {
        data: Data::Whole {
            version: MajorVersion::V18,
        },
        ..made(&assignment(1))
    };
    let plan = plan(&assignment(1), &seen, &paths());
    assert_eq!(code(&plan), "major-version-differs");
    assert_eq!(
        plan.blocked[0].hints,
        ["Set `version: \"18\"` in the manifest."]
    );
}

#[test]
fn what_could_not_be_looked_at_is_left_alone() {
    let problem = Problem::new(Class::Transient, "x", "x");
    let seen = Observed {
        data: Data::Unknown(problem.clone()),
        ..nothing()
    };
    assert_eq!(code(&plan(&assignment(1), &seen, &paths())), "x");
    let seen = Observed {
        server: Server::Silent(problem),
        ..made(&assignment(1))
    };
    assert_eq!(code(&plan(&assignment(1), &seen, &paths())), "x");
}

#[test]
fn missing_programs_block_a_start_and_stop_nothing() {
    let want = assignment(1);
    let missing = Problem::new(Class::Config, "postgres-program-missing", "x");
    let seen = Observed {
        programs: Err(missing.clone()),
        ..made(&want)
    };
    assert_eq!(
        code(&plan(&want, &seen, &paths())),
        "postgres-program-missing"
    );
    let seen = Observed {
        programs: Err(missing),
        ..up(&want)
    };
    assert_eq!(
        words(&plan(&want, &seen, &paths())),
        ["bring access up to date"]
    );
}

#[test]
fn a_starting_server_is_waited_for() {
    let want = assignment(1);
    let seen = Observed {
        server: Server::Starting,
        ..made(&want)
    };
    let plan = plan(&want, &seen, &paths());
    assert!(plan.steps.is_empty() && plan.waiting == Some(WaitingOn::ServerToAnswer));
    assert!(!plan.is_in_sync());
}

#[test]
fn a_changed_setting_is_written_then_reloaded_then_restarted_if_the_server_says_so() {
    let (old, mut new) = (assignment(1), assignment(2));
    new.spec
        .parameters
        .insert("max_connections".into(), "77".into());
    let before = up(&old);
    let plan_of = |seen: &Observed| words(&plan(&new, seen, &paths()));
    assert_eq!(
        plan_of(&before),
        ["write postgresql.conf", "reload configuration"]
    );
    let written = Observed {
        files: files::wanted(&new, &paths()),
        ..before
    };
    assert_eq!(plan_of(&written), ["reload configuration"]);
    let pending = |up: &mut Up| up.server.pending_restart = vec!["max_connections".into()];
    let loaded = with(up(&new), pending);
    assert_eq!(plan_of(&loaded), ["restart server: max_connections"]);
    assert_eq!(plan_of(&up(&new)), ["bring access up to date"]);
}

#[test]
fn a_setting_that_the_server_refuses_is_shown_and_not_tried_again() {
    let (old, mut new) = (assignment(1), assignment(2));
    new.spec.parameters.insert("work_mem".into(), "1".into());
    let seen = Observed {
        files: files::wanted(&new, &paths()),
        ..up(&old)
    };
    let seen = with(seen, |up| {
        up.server.refused = vec![("work_mem".into(), "1 is outside the valid range".into())];
    });
    let plan = plan(&new, &seen, &paths());
    assert_eq!(code(&plan), "setting-refused");
    assert_eq!(
        plan.blocked[0].message,
        "PostgreSQL refuses the setting work_mem: 1 is outside the valid range"
    );
    assert!(plan.blocked[0].hints[0].contains("spec.parameters.work_mem"));
}

#[test]
fn a_server_that_would_not_start_again_is_not_restarted() {
    let want = assignment(1);
    let seen = with(up(&want), |up| {
        up.server.refused = vec![("work_mem".into(), "invalid value".into())];
        up.server.pending_restart = vec!["max_connections".into()];
    });
    let plan = plan(&want, &seen, &paths());
    assert_eq!(words(&plan), ["bring access up to date"]);
    assert_eq!(plan.blocked[0].code, "setting-refused");
}

#[test]
fn a_package_upgrade_underneath_means_a_restart() {
    let want = assignment(1);
    let seen = Observed {
        programs: Ok("15.19".into()),
        ..up(&want)
    };
    assert_eq!(
        words(&plan(&want, &seen, &paths())),
        ["restart server: PostgreSQL 15.18 → 15.19"]
    );
}

#[test]
fn suspended_means_stopped_and_nothing_else() {
    let mut want = assignment(1);
    want.spec.power = Power::Off;
    let plan_of = |seen: &Observed| plan(&want, seen, &paths());
    assert_eq!(words(&plan_of(&up(&want))), ["stop server"]);
    assert!(plan_of(&made(&want)).is_in_sync());
    assert!(plan_of(&nothing()).is_in_sync());
}

#[test]
fn no_verifier_and_no_key_shows_in_a_plan() {
    let mut want = assignment(1);
    want.spec.logins.push(LoginSpec {
        role: "web_1".into(),
        access: Access::ReadWrite,
        verifier: Some(Secret::new("SCRAM-SHA-256$4096:salt$stored:server".into())),
        comment: "shop/web".into(),
    });
    want.placement.tls = Some(boma_instance::TlsMaterial {
        certificate: "certificate".into(),
        key: Secret::new("a private key".into()),
        authority: "authority".into(),
    });
    for seen in [nothing(), made(&want), up(&want)] {
        let plan = plan(&want, &seen, &paths());
        let shown = format!("{plan:?} {}", words(&plan).join(" "));
        assert!(
            !shown.contains("salt") && !shown.contains("private"),
            "{shown}"
        );
    }
}

fn recovering(want: &Assignment, target: RecoveryTarget) -> Observed {
    let recovery = Recovery {
        database: "accounts_db".into(),
        target,
        timeline: Timeline(1),
        ends_before: None,
    };
    Observed {
        recovery: Some(recovery),
        ..made(want)
    }
}

fn restored() -> Assignment {
    let mut want = assignment(1);
    want.spec.origin = Some(Origin {
        repository: "default".into(),
        instance: want.spec.id,
        database: "accounts_db".into(),
        target: RecoveryTarget::Latest,
        timeline: None,
    });
    want
}

#[test]
fn what_comes_from_backups_is_never_made_empty() {
    let plan = plan(&restored(), &nothing(), &paths());
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert_eq!(plan.waiting, Some(WaitingOn::Restore));
    assert!(!plan.is_in_sync());
}

#[test]
fn a_moment_after_the_last_commit_is_where_the_archive_ends() {
    let want = restored();
    let time = RecoveryTarget::Time(jiff::Timestamp::UNIX_EPOCH);
    let seen = recovering(&want, time);
    assert_eq!(words(&plan(&want, &seen, &paths())), ["start server"]);
    let ended = Observed {
        archive_ended: Some("000000010000000000000003".into()),
        ..seen
    };
    assert_eq!(
        words(&plan(&want, &ended, &paths())),
        ["recover all that is archived", "start server"]
    );
}

#[test]
fn a_restore_point_that_is_not_in_the_archive_is_told() {
    let want = restored();
    let ended = Observed {
        archive_ended: Some("000000010000000000000003".into()),
        ..recovering(&want, RecoveryTarget::Name("before".into()))
    };
    let plan = plan(&want, &ended, &paths());
    assert_eq!(code(&plan), "restore-target-not-reached");
    assert!(plan.blocked[0].message.contains("the archive ended before"));
}

#[test]
fn a_recovered_server_is_taken_over_before_anything_else() {
    let want = restored();
    let seen = Observed {
        recovery: recovering(&want, RecoveryTarget::Latest).recovery,
        ..up(&want)
    };
    assert_eq!(
        words(&plan(&want, &seen, &paths())),
        ["take over database accounts_db"]
    );
}

/// Up, as `want` says in all but access: nothing of it is there.
fn up_without_access(want: &Assignment) -> Observed {
    Observed {
        reached: Some(Reached::of(&want.spec)),
        ..up(want)
    }
}

#[test]
fn what_was_changed_by_hand_is_told_once_the_spec_was_reached() {
    let mut want = assignment(1);
    let first = plan(&want, &up(&want), &paths());
    assert!(
        first.corrects.is_empty(),
        "it was never so: {:?}",
        first.corrects
    );
    let again = plan(&want, &up_without_access(&want), &paths());
    assert!(
        again.corrects.contains(&"set groups".to_owned()),
        "{:?}",
        again.corrects
    );
    let seen = up_without_access(&want);
    want.spec.generation += 1;
    let changed = plan(&want, &seen, &paths());
    assert!(changed.corrects.is_empty(), "the spec is another one");
}

#[test]
fn what_is_left_as_it_was_changed_is_no_step() {
    let mut want = assignment(1);
    let member = |up: &mut Up| {
        up.database
            .memberships
            .push(boma_postgres::sql::SeenMembership {
                group: boma_instance::names::owner_group(&assignment(1).spec.database),
                member: "analyst".into(),
                grantor: "postgres".into(),
                is_plain: true,
            });
    };
    let taken = "take analyst out of";
    let seen = with(up_without_access(&want), member);
    let corrected = plan(&want, &seen, &paths());
    assert!(corrected.corrects.iter().any(|one| one.starts_with(taken)));
    want.spec.drift = Drift::Report;
    let left = plan(&want, &seen, &paths());
    assert!(
        left.leaves.iter().any(|one| one.starts_with(taken)),
        "{:?}",
        left.leaves
    );
    assert!(!left.corrects.iter().any(|one| one.starts_with(taken)));
    let never = Observed {
        reached: None,
        ..seen
    };
    let first = plan(&want, &never, &paths());
    assert!(
        first.leaves.is_empty(),
        "nothing was reached yet: {:?}",
        first.leaves
    );
}

#[test]
fn a_setting_by_hand_is_taken_back_and_restarts_nothing() {
    let by_hand = |undone_by| {
        move |up: &mut Up| {
            up.server.pending_restart = vec!["max_connections".into()];
            up.server.overridden = vec![boma_postgres::sql::Override {
                name: "max_connections".into(),
                undone_by,
            }];
        }
    };
    let mut want = assignment(1);
    let seen = with(up(&want), by_hand(UndoneBy::Reset));
    let corrected = plan(&want, &seen, &paths());
    assert_eq!(
        words(&corrected),
        ["take back settings by hand: max_connections"]
    );
    assert_eq!(
        corrected.corrects,
        ["take back the settings max_connections"]
    );
    let in_force = with(up(&want), by_hand(UndoneBy::Restart));
    assert_eq!(
        words(&plan(&want, &in_force, &paths())),
        ["bring access up to date"]
    );
    want.spec.drift = Drift::Report;
    assert_eq!(
        words(&plan(&want, &seen, &paths())),
        ["bring access up to date"]
    );
}
