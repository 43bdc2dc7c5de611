using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "noop", worker = .noop)],
  # The address is given on the command line.
  sockets = [(name = "http", http = (), service = "noop")],
);

const noop :Workerd.Worker = (
  modules = [
    (name = "worker.mjs", esModule = embed "workerd.mjs"),
    (name = "noop.js", commonJsModule = embed "noop.js"),
  ],
  compatibilityDate = "2026-01-01",
);
