//! One-shot runs up to their start, which this engine refuses.

use std::time::Duration;

use serde_json::json;

use super::World;

const INPUT: usize = 1_000_000;
/// Longer than any of it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the language look built.
fn built(world: &World, runtime: &str) {
    let launcher = world.api.invoker().launcher();
    let recipe = launcher.catalogue.resolve(runtime).unwrap().recipe;
    let trees = launcher.trees.folder().join("trees");
    let tree = trees.join(recipe.tree_digest().as_str());
    std::fs::create_dir_all(tree.join("rootfs")).unwrap();
    let text = "recipe = \"x\"\nsize_bytes = 0\nbuild_ms = 0\nbuilt_at = 0\n";
    std::fs::write(tree.join("tree.toml"), text).unwrap();
}

async fn wait_until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test]
async fn what_a_run_holds_counts_as_a_request_s_body_until_it_is_over() {
    let world = World::held().await;
    built(&world, "python3.13");
    let budget = world.api.bodies();
    let all = budget.left();
    for form in ["input", "input_base64"] {
        let body = json!({
            "runtime": "python3.13",
            "code": {"source": "print(1)"},
            form: "QUFB".repeat(INPUT / 4),
        });
        let input = match form {
            "input" => INPUT,
            _ => INPUT / 4 * 3,
        };
        let request = reqwest::Client::new()
            .post(format!("{}/api/v1/run", world.url))
            .bearer_auth("WARREN1:secret")
            .json(&body);
        let asked = tokio::spawn(request.send());
        // The request itself is forgotten; its input and its zip of some hundred bytes are not.
        wait_until(|| (input + 1..input + 1_000).contains(&(all - budget.left()))).await;
        world.let_through(1);
        assert_eq!(asked.await.unwrap().unwrap().status(), 500, "{form}");
        wait_until(|| budget.left() == all).await;
    }
}
