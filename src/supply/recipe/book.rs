//! All recipes this vadev carries: read strictly, checked as a graph, hashed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::super::error::SupplyError;
use super::model::{Action, Recipe};
use crate::agent::digest::to_hex;

/// Part of every input hash: raised when the runner starts to make something else of the same recipe.
const FORMAT: &str = "vadev-recipe/1";

#[derive(rust_embed::RustEmbed)]
#[folder = "src/supply/recipes"]
struct Embedded;

/// A recipe's files by path relative to the work folder.
pub type Files = BTreeMap<String, Cow<'static, [u8]>>;

/// The names of the recipes, from their folders alone: nothing is parsed.
pub fn recipe_names() -> Vec<String> {
    let folder = |path: Cow<'static, str>| path.strip_suffix("/recipe.yaml").map(str::to_owned);
    Embedded::iter().filter_map(folder).collect()
}

/// The recipes by name.
#[derive(Debug)]
pub struct Book {
    recipes: BTreeMap<String, Recipe>,
    files: BTreeMap<String, Files>,
    hashes: BTreeMap<String, String>,
}

impl Book {
    /// The recipes embedded in this executable.
    pub fn embedded() -> Result<Self, SupplyError> {
        let mut folders: BTreeMap<String, Files> = BTreeMap::new();
        for path in Embedded::iter() {
            let (Some((folder, rest)), Some(file)) = (path.split_once('/'), Embedded::get(&path)) else {
                continue;
            };
            // What somebody built by hand beside a recipe is no part of it, and would change its hash.
            if rest.starts_with("out/") {
                continue;
            }
            folders
                .entry(folder.to_owned())
                .or_default()
                .insert(rest.to_owned(), file.data);
        }
        Self::read(&folders)
    }

    /// Reads and checks recipes out of their folders.
    pub fn read(folders: &BTreeMap<String, Files>) -> Result<Self, SupplyError> {
        let invalid = |name: &str, reason: String| SupplyError::InvalidRecipe {
            name: name.to_owned(),
            reason,
        };
        let mut book = Self {
            recipes: BTreeMap::new(),
            files: BTreeMap::new(),
            hashes: BTreeMap::new(),
        };
        for (folder, files) in folders {
            // A folder without a recipe is there to be shared.
            let Some(text) = files.get("recipe.yaml") else {
                continue;
            };
            let text = std::str::from_utf8(text).map_err(|error| invalid(folder, error.to_string()))?;
            let recipe: Recipe =
                serde_saphyr::from_str(text).map_err(|error| invalid(folder, error.to_string()))?;
            if recipe.name != *folder {
                return Err(invalid(folder, format!("it calls itself `{}`", recipe.name)));
            }
            let mut all = match &recipe.share {
                None => Files::new(),
                Some(share) => folders
                    .get(share)
                    .ok_or_else(|| invalid(folder, format!("it shares no folder `{share}`")))?
                    .clone(),
            };
            all.extend(files.clone());
            book.files.insert(folder.clone(), all);
            book.recipes.insert(folder.clone(), recipe);
        }
        let names: Vec<_> = book.recipes.keys().cloned().collect();
        for name in &names {
            book.hash_into(name, &mut BTreeSet::new())?;
        }
        Ok(book)
    }

    /// All recipes, by name.
    pub fn recipes(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.values()
    }

    /// The recipe `name`.
    pub fn recipe(&self, name: &str) -> Result<&Recipe, SupplyError> {
        self.recipes.get(name).ok_or_else(|| {
            let close = self
                .recipes
                .keys()
                .map(|known| (strsim::damerau_levenshtein(known, name), known));
            let suggestion = close
                .min()
                .filter(|(distance, _)| *distance <= 3)
                .map(|(_, known)| known.clone());
            SupplyError::UnknownRecipe {
                name: name.to_owned(),
                suggestion,
            }
        })
    }

    /// The files of the recipe `name`, shared ones included.
    pub fn files(&self, name: &str) -> &Files {
        static NONE: Files = Files::new();
        self.files.get(name).unwrap_or(&NONE)
    }

    /// The input hash of the recipe `name`: of its files, of the hashes of all it needs, and of the embedded agent where
    /// that is a part of it.
    pub fn hash(&self, name: &str) -> &str {
        self.hashes.get(name).map_or("", String::as_str)
    }

    /// `names` and everything they need, each after its needs.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<&Recipe>, SupplyError> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.visit(name, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit<'a>(
        &'a self,
        name: &str,
        seen: &mut BTreeSet<&'a str>,
        order: &mut Vec<&'a Recipe>,
    ) -> Result<(), SupplyError> {
        let recipe = self.recipe(name)?;
        // Cycles were refused when the book was read.
        if seen.insert(&recipe.name) {
            for need in &recipe.needs {
                self.visit(need, seen, order)?;
            }
            order.push(recipe);
        }
        Ok(())
    }

    fn hash_into(&mut self, name: &str, open: &mut BTreeSet<String>) -> Result<String, SupplyError> {
        if let Some(hash) = self.hashes.get(name) {
            return Ok(hash.clone());
        }
        let invalid = |reason: String| SupplyError::InvalidRecipe {
            name: name.to_owned(),
            reason,
        };
        if !open.insert(name.to_owned()) {
            return Err(invalid("it needs itself".to_owned()));
        }
        let Some(recipe) = self.recipes.get(name) else {
            return Err(invalid("it is needed, but there is no such recipe".to_owned()));
        };
        let with_agent = recipe.steps.iter().any(|step| matches!(step, Action::Agent(_)));
        let mut needs = recipe.needs.clone();
        needs.sort();
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            // Lengths keep neighbours apart.
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(FORMAT.as_bytes());
        part(std::env::consts::ARCH.as_bytes());
        for (path, content) in self.files(name) {
            part(path.as_bytes());
            part(content);
        }
        if with_agent {
            part(crate::agent::embedded::sha256().as_bytes());
        }
        for need in needs {
            let needed = self.hash_into(&need, open)?;
            part(need.as_bytes());
            part(needed.as_bytes());
        }
        let hash = to_hex(&hash.finalize());
        open.remove(name);
        self.hashes.insert(name.to_owned(), hash.clone());
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, needs: &str) -> (String, Files) {
        let text = format!(
            "recipe: {name}\nkind: image\nreference: x/{name}:1\nversion: \"1\"\nsummary: s\nneeds: [{needs}]\n\
             seconds: 1\nsteps:\n  - build: {{ dockerfile: Dockerfile }}\n"
        );
        let dockerfile = Cow::Borrowed(&b"FROM scratch\n"[..]);
        (
            name.to_owned(),
            Files::from([
                ("recipe.yaml".to_owned(), text.into_bytes().into()),
                ("Dockerfile".to_owned(), dockerfile),
            ]),
        )
    }

    #[test]
    fn the_embedded_recipes_are_valid() {
        let book = Book::embedded().unwrap();
        assert!(book.recipe("redis").is_ok());
        for recipe in book.recipes() {
            assert_eq!(book.hash(&recipe.name).len(), 64);
            assert_eq!(
                book.closure(&[&recipe.name]).unwrap().last().map(|r| &r.name),
                Some(&recipe.name)
            );
            for step in &recipe.steps {
                if let Action::Build(build) = step {
                    assert!(
                        book.files(&recipe.name).contains_key(&build.dockerfile),
                        "{}",
                        recipe.name
                    );
                }
            }
        }
    }

    #[test]
    fn a_change_reaches_all_that_need_it() {
        let folders = || {
            BTreeMap::from([
                folder("a", ""),
                folder("b", "a"),
                folder("c", "b"),
                folder("d", ""),
            ])
        };
        let before = Book::read(&folders()).unwrap();
        let mut changed = folders();
        changed
            .get_mut("a")
            .unwrap()
            .insert("Dockerfile".to_owned(), b"FROM x\n".to_vec().into());
        let after = Book::read(&changed).unwrap();
        let differ: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .filter(|n| before.hash(n) != after.hash(n))
            .collect();
        assert_eq!(differ, ["a", "b", "c"]);
        let order: Vec<_> = after
            .closure(&["c", "d"])
            .unwrap()
            .iter()
            .map(|r| r.name.clone())
            .collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
    }

    #[test]
    fn wrong_books_are_refused() {
        let cycle = Book::read(&BTreeMap::from([folder("a", "b"), folder("b", "a")]));
        assert!(cycle.unwrap_err().to_string().contains("needs itself"));
        let gap = Book::read(&BTreeMap::from([folder("a", "b")]));
        assert!(gap.unwrap_err().to_string().contains("no such recipe"));
        let mut unknown = folder("a", "");
        unknown.1.insert(
            "recipe.yaml".to_owned(),
            b"recipe: a\nflavour: mild\n".to_vec().into(),
        );
        let error = Book::read(&BTreeMap::from([unknown])).unwrap_err().to_string();
        assert!(error.contains("flavour"), "{error}");
        let book = Book::read(&BTreeMap::from([folder("redis", "")])).unwrap();
        let error = book.recipe("rediss").unwrap_err();
        assert!(
            matches!(error, SupplyError::UnknownRecipe { suggestion: Some(name), .. } if name == "redis")
        );
    }
}
