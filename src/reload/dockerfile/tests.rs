use super::*;

fn copies(text: &str) -> Vec<Copy> {
    let file = Dockerfile::parse(text);
    let args = BTreeMap::from([("BASE".to_owned(), "mine".to_owned())]);
    file.copies(file.target(None).unwrap(), &args)
}

#[test]
fn copies_know_where_they_go_and_what_follows() {
    let found = copies(
        "# syntax=docker/dockerfile:1\nARG BASE=x\nFROM ${BASE} AS base\nWORKDIR /srv\nENV APP=/srv/app\n\
         COPY requirements.txt .\nRUN pip install \\\n  # a remark\n  -r requirements.txt\n\
         FROM base\nCOPY --chown=1:1 app $APP\nCOPY [\"a b\", \"static/\"]\nCOPY main.py conf.py ./\nCMD [\"x\"]\n",
    );
    let told: Vec<(Vec<String>, &str, bool)> = found
        .iter()
        .map(|c| (c.sources.clone(), c.to.as_deref().unwrap(), c.used_by_run))
        .collect();
    assert_eq!(
        told,
        [
            (vec!["requirements.txt".to_owned()], "/srv/", true),
            (vec!["app".to_owned()], "/srv/app", false),
            (vec!["a b".to_owned()], "/srv/static/", false),
            (vec!["main.py".to_owned(), "conf.py".to_owned()], "/srv/", false),
        ]
    );
}

#[test]
fn what_a_base_holds_back_is_done_by_the_stage_that_begins_with_it() {
    let text = "FROM x AS base\nWORKDIR /app\nONBUILD COPY requirements.txt ./\nONBUILD RUN pip install\n\
                onbuild copy . .\nFROM base AS one\nCOPY main.py /srv/\nFROM one\n";
    let found = copies(text);
    let told: Vec<(usize, &str, bool)> = found
        .iter()
        .map(|copy| (copy.line, copy.to.as_deref().unwrap(), copy.used_by_run))
        .collect();
    assert_eq!(
        told,
        [(3, "/app/", true), (5, "/app/", false), (7, "/srv/", false)]
    );
    let only = Dockerfile::parse(text);
    let base = only.target(Some("base")).unwrap();
    assert!(
        only.copies(base, &BTreeMap::new()).is_empty(),
        "not in the base itself"
    );
}

#[test]
fn other_stages_and_here_documents_are_told_apart() {
    let found = copies(
        "FROM golang AS build\nCOPY . .\nRUN <<EOF\nCOPY not a line\nEOF\nRUN go build -o /out/x ./cmd\n\
         FROM scratch\nCOPY --from=build /out/x /x\n",
    );
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].from.as_deref(), found[0].to.as_deref(), found[0].line),
        (Some("build"), Some("/x"), 8)
    );
}

#[test]
fn targets_are_known_or_not() {
    let to = |text: &str| copies(text).pop().unwrap().to;
    for (text, expected) in [
        ("ARG D=/srv\nFROM x\nARG D\nCOPY a $D/", Some("/srv/")),
        ("ARG D=/srv\nFROM x\nCOPY a $D/", None),
        ("FROM x\nCOPY a /b/../c", Some("/c")),
        ("FROM x\nCOPY a b", None),
        ("FROM scratch\nCOPY a b", Some("/b")),
        ("FROM x\nWORKDIR app\nCOPY a .", None),
        ("FROM x\nWORKDIR $HOME\nCOPY a .", None),
        ("FROM x\nWORKDIR $HOME\nWORKDIR /app\nCOPY a .", Some("/app/")),
        ("FROM x\nCOPY --parents a /b/", None),
        ("FROM x\nCOPY $A /b/", None),
        ("FROM x\nCOPY ../a /b/", None),
        (
            "ARG S=base\nFROM x AS base\nWORKDIR /w\nFROM ${S}\nCOPY a .",
            Some("/w/"),
        ),
    ] {
        assert_eq!(to(text).as_deref(), expected, "{text}");
    }
    assert_eq!(
        copies("FROM x\nCOPY $A /b/")[0].sources,
        [""],
        "it may be anything"
    );
}

#[test]
fn owners_and_modes_are_taken_as_numbers() {
    let of = |flags: &str| {
        copies(&format!("FROM x\nCOPY {flags} a /a"))
            .pop()
            .unwrap()
            .attributes
    };
    let with = |owner, mode| Some(Attributes { owner, mode });
    assert_eq!(of("--link"), with((0, 0), None));
    assert_eq!(of("--chown=7 --chmod=755"), with((7, 7), Some(0o755)));
    assert_eq!(of("--chown=7:8"), with((7, 8), None));
    for unknown in ["--chown=app:app", "--chmod=u+x", "--chown=7 --chmod=$X"] {
        assert_eq!(of(unknown), None, "{unknown}");
    }
    assert!(copies("FROM x\nADD x.tar.gz /opt/app")[0].unpacked);
    assert!(!copies("FROM x\nCOPY x.tar.gz /opt/app")[0].unpacked);
}

#[test]
fn what_commands_use_is_found_in_every_stage() {
    let file = Dockerfile::parse(
        "FROM node AS assets\nCOPY web ./\nRUN npm run build\nFROM x AS unused\nCOPY other .\n\
         FROM y\nCOPY deps .\nRUN --mount=type=cache,target=/c --mount=target=/src,source=gen \\\n  make\n\
         COPY . .\nCOPY --from=0 /out /static\n",
    );
    let used = file.used(file.target(None).unwrap(), &BTreeMap::new());
    let mut used: Vec<_> = used
        .iter()
        .map(|used| (used.line, used.source.as_str()))
        .collect();
    used.sort_unstable();
    assert_eq!(used, [(2, "web"), (7, "deps"), (8, "gen")]);
    assert_eq!(file.mounted(&BTreeMap::new()), ["gen"]);
    let whole = Dockerfile::parse("FROM go\nRUN --mount=type=bind,target=. go build\n");
    assert_eq!(whole.mounted(&BTreeMap::new()), [""]);
}
