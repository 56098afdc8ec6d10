//! A Dockerfile as a list of instructions: what every reader of one begins with. Pure.

/// One instruction, its continuation lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Where it begins, from 1.
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    /// The rest, trimmed; without the bodies of here-documents.
    pub arguments: String,
}

/// Joins continuation lines, drops remarks and the bodies of here-documents.
pub fn instructions(text: &str) -> Vec<Instruction> {
    // The mark that some editors begin a file with is no part of its first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let escape = escape(&lines);
    let is_remark = |line: &str| line.trim_start().starts_with('#');
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let begin = at;
        let mut whole = String::new();
        let mut open = true;
        while open && at < lines.len() {
            let line = lines[at];
            at += 1;
            // Builders pass over both in the middle of an instruction, too.
            if is_remark(line) || line.trim().is_empty() {
                open = !whole.is_empty();
                continue;
            }
            let part = line.trim_end().strip_suffix(escape);
            open = part.is_some();
            whole.push_str(part.unwrap_or(line).trim());
            whole.push(' ');
        }
        let whole = whole.trim();
        if whole.is_empty() {
            continue;
        }
        let (keyword, arguments) = whole.split_once(char::is_whitespace).unwrap_or((whole, ""));
        let keyword = keyword.to_uppercase();
        if ["RUN", "COPY", "ADD"].contains(&keyword.as_str()) {
            for mark in here_documents(arguments) {
                // Without its end it is none: `<<` shifts numbers, too.
                let end = lines[at..].iter().position(|line| mark.ends(line));
                at += end.map_or(0, |end| end + 1);
            }
        }
        found.push(Instruction {
            line: begin + 1,
            keyword,
            arguments: arguments.trim().to_owned(),
        });
    }
    found
}

/// What continues a line: a backslash, or what a directive at the very top of the file names.
fn escape(lines: &[&str]) -> char {
    let directives = lines.iter().map_while(|line| {
        let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
        let name = name.trim();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        is_name.then(|| (name.to_ascii_lowercase(), value.trim()))
    });
    let mut named = directives.filter(|(name, value)| name == "escape" && *value == "`");
    if named.next().is_some() { '`' } else { '\\' }
}

/// The word that a here-document ends with.
struct Mark {
    word: String,
    /// `<<-`: it may stand behind tabs.
    tabs: bool,
}

impl Mark {
    fn ends(&self, line: &str) -> bool {
        let line = if self.tabs {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.word
    }
}

fn here_documents(arguments: &str) -> Vec<Mark> {
    let mark = |word: String| {
        let (_, mark) = word.split_once("<<")?;
        let (tabs, mark) = mark.strip_prefix('-').map_or((false, mark), |rest| (true, rest));
        let mark = unquoted(mark);
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
        // What was in quotes as a whole is a text.
        let whole = word.starts_with(['"', '\'']);
        (!whole && !mark.is_empty() && mark.chars().all(plain)).then_some(Mark { word: mark, tabs })
    };
    words(arguments).into_iter().filter_map(mark).collect()
}

/// The words of a line as they stand there: what is in quotes is one, quotes included.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A word without its quotes.
pub fn unquoted(word: &str) -> String {
    let (mut out, mut quote) = (String::new(), None);
    for c in word.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String)> {
        let of = |one: Instruction| (one.line, one.keyword, one.arguments);
        instructions(text).into_iter().map(of).collect()
    }

    #[test]
    fn lines_are_joined_and_remarks_passed_over() {
        let found = read("# syntax=x\n\nfrom a\nRUN b \\\n  # why\n\n  && c\nCOPY x \\");
        let expected = [(3, "FROM", "a"), (4, "RUN", "b && c"), (8, "COPY", "x")];
        let expected = expected.map(|(line, keyword, rest)| (line, keyword.to_owned(), rest.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn directives_and_marks_at_the_top_are_understood() {
        let keywords =
            |text: &str| -> Vec<String> { read(text).into_iter().map(|(_, keyword, _)| keyword).collect() };
        assert_eq!(keywords("\u{feff}FROM a\nUSER b"), ["FROM", "USER"]);
        let text = "# syntax=x\n# Escape = `\nFROM a\nCOPY b `\n  c\nCOPY d C:\\\nUSER 1\n";
        let found = read(text);
        assert_eq!(found[1].2, "b c");
        assert_eq!(found[2].2, "d C:\\");
        assert_eq!(keywords(text), ["FROM", "COPY", "COPY", "USER"]);
        // After a remark nothing is a directive any more.
        assert_eq!(
            keywords("# ours\n# escape=`\nFROM a\\\n b\nUSER 1"),
            ["FROM", "USER"]
        );
    }

    #[test]
    fn what_is_in_a_here_document_is_no_instruction() {
        for run in [
            "RUN <<EOF\nFROM pathlib\nEOF",
            "RUN <<-\"EOF\"\n\tFROM pathlib\n\tEOF",
            "RUN cat<<'EOF' >x\nFROM pathlib\n EOF\nEOF",
            "COPY <<a <<b /x/\nFROM a\na\nFROM b\nb",
            "RUN python 3<<EOF\nFROM pathlib\nEOF",
        ] {
            let found = read(&format!("FROM x\n{run}\nUSER 1\n"));
            let keywords: Vec<&str> = found.iter().map(|(_, keyword, _)| keyword.as_str()).collect();
            assert_eq!((keywords[0], keywords.len()), ("FROM", 3), "{run}");
            assert_eq!(keywords[2], "USER", "{run}");
        }
        for run in [
            "RUN echo $((a<<b))",
            "RUN echo a <<b",
            "RUN echo 'x <<USER'",
            "LABEL a=<<x",
        ] {
            assert_eq!(read(&format!("{run}\nUSER 1\nx\n")).len(), 3, "{run}");
        }
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(words("a='b c'  \"d \\\" e\" f"), ["a='b c'", "\"d \\\" e\"", "f"]);
        assert_eq!(unquoted("a='b \"c'"), "a=b \"c");
    }
}
