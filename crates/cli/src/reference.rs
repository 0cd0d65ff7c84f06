//! The reference pages of the documentation, made from the definitions of the command line: a test compares them with
//! `docs/cli.md` and `docs/configuration.md`.

use std::fmt::Write;

use clap::{Arg, Args, Command, CommandFactory};

use crate::args::Cli;
use crate::config::ServerArgs;

/// `docs/cli.md`: the help of every command.
#[must_use]
pub fn cli() -> String {
    let mut page = String::from(
        "# The command line\n\nMade from the program's own definitions; a test keeps it true. Data goes to standard output, \
         everything else to standard error.\n",
    );
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    section(&mut page, &mut command);
    page
}

fn section(page: &mut String, command: &mut Command) {
    let name = command.get_bin_name().unwrap_or("althing").to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        section(page, sub);
    }
}

/// `docs/configuration.md`: every setting of a node with its key, variable and flag.
#[must_use]
pub fn configuration() -> String {
    let mut page = String::from(
        "# Configuration of a node\n\n\
         `althing server` takes each setting from a flag, else from the environment, else from the TOML file that\n\
         `--config` names, else from its default. Made from the program's own definitions; a test keeps it true. An unknown\n\
         key is refused with the nearest valid one.\n\n\
         ```toml\n\
         name = \"n1\"\n\
         data_dir = \"/var/lib/althing\"\n\
         cluster = \"prod\"\n\
         initial_cluster = [\"n1=https://10.0.0.1:2380\", \"n2=https://10.0.0.2:2380\", \"n3=https://10.0.0.3:2380\"]\n\
         listen_client = \"10.0.0.1:2379\"\n\
         listen_peer = \"10.0.0.1:2380\"\n\
         client_tls_cert = \"/etc/althing/client.pem\"\n\
         client_tls_key = \"/etc/althing/client.key\"\n\
         peer_tls_cert = \"/etc/althing/peer.pem\"\n\
         peer_tls_key = \"/etc/althing/peer.key\"\n\
         peer_tls_ca = \"/etc/althing/ca.pem\"\n\
         log_format = \"json\"\n\
         ```\n\n\
         | key | variable | flag | meaning |\n|---|---|---|---|\n",
    );
    let command = ServerArgs::augment_args(Command::new("server"));
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        page.push_str(&row(arg));
    }
    page
}

fn row(arg: &Arg) -> String {
    let key = match arg.get_id().as_str() {
        "config" => String::new(),
        id => format!("`{id}`"),
    };
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let flag = arg.get_long().map(|name| format!("`--{name}`")).unwrap_or_default();
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    format!("| {key} | {variable} | {flag} | {} |\n", help.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a page with the file in the repository; with `UPDATE_DOCS` in the environment writes it instead.
    fn same(file: &str, page: &str) {
        let path = format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == page,
            "docs/{file} is not what the program says; run: UPDATE_DOCS=1 cargo test -p althing-cli"
        );
    }

    #[test]
    fn the_reference_of_the_command_line_is_what_the_program_says() {
        same("cli.md", &cli());
    }

    #[test]
    fn the_reference_of_the_configuration_is_what_the_program_says() {
        same("configuration.md", &configuration());
    }

    #[test]
    fn completions_know_every_verb() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "althing", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("uncordon") && script.contains("dry-run"), "{shell}");
        }
    }

    #[test]
    fn the_definitions_of_the_command_line_are_sound() {
        Cli::command().debug_assert();
    }
}
