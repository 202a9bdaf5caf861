"""Tell whether a customer will leave: code as it was written for TensorFlow 1."""

import csv
import json
import os

import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()

flags = tf.app.flags
flags.DEFINE_string("data_url", None, "Folder with train.csv and test.csv.")
flags.DEFINE_string("train_url", None, "Folder for the model, checkpoints and summaries.")
flags.DEFINE_integer("max_steps", 1500, "Steps to train.")
flags.DEFINE_float("learning_rate", 0.02, "Of Adam.")
flags.mark_flags_as_required(["data_url", "train_url"])
FLAGS = flags.FLAGS

CLASSES = ["no", "yes"]
COLUMNS = [
    tf.feature_column.numeric_column("months", normalizer_fn=lambda months: months / 72.0),
    tf.feature_column.numeric_column("complaints"),
    tf.feature_column.indicator_column(
        tf.feature_column.categorical_column_with_vocabulary_list(
            "contract", ["monthly", "yearly", "prepaid"]
        )
    ),
]


def read(name):
    with open(os.path.join(FLAGS.data_url, name)) as table:
        rows = list(csv.DictReader(table))
    columns = {
        "months": [float(row["months"]) for row in rows],
        "complaints": [float(row["complaints"]) for row in rows],
        "contract": [row["contract"] for row in rows],
    }
    return columns, [CLASSES.index(row["left"]) for row in rows]


def inference(features):
    with tf.variable_scope("network", reuse=tf.AUTO_REUSE):
        layer = tf.feature_column.input_layer(features, COLUMNS)
        weights = tf.get_variable("weights", [layer.shape[1], len(CLASSES)])
        bias = tf.get_variable("bias", [len(CLASSES)], initializer=tf.zeros_initializer())
        return tf.matmul(layer, weights) + bias


def export(session, customer, logits):
    """Write a SavedModel with a signature for plain values and one for tf.Examples."""
    scores = tf.nn.softmax(logits)
    left = tf.gather(tf.constant(CLASSES), tf.argmax(logits, 1))
    utils = tf.saved_model.signature_def_utils
    info = tf.saved_model.utils.build_tensor_info
    predict = utils.build_signature_def(
        {name: info(tensor) for name, tensor in customer.items()},
        {"labels": info(left), "confidences": info(tf.reduce_max(scores, 1))},
        tf.saved_model.signature_constants.PREDICT_METHOD_NAME,
    )
    serialized = tf.placeholder(tf.string, [None], name="tf_example")
    spec = tf.feature_column.make_parse_example_spec(COLUMNS)
    parsed_scores = tf.nn.softmax(inference(tf.parse_example(serialized, spec)))
    all_classes = tf.tile([CLASSES], [tf.shape(serialized)[0], 1])
    classify = utils.classification_signature_def(serialized, all_classes, parsed_scores)

    builder = tf.saved_model.builder.SavedModelBuilder(os.path.join(FLAGS.train_url, "model"))
    builder.add_meta_graph_and_variables(
        session,
        [tf.saved_model.tag_constants.SERVING],
        signature_def_map={"serving_default": predict, "classify": classify},
        main_op=tf.tables_initializer(),
    )
    builder.save()


def main(_):
    tf.set_random_seed(1)
    customer = {
        "months": tf.placeholder(tf.float32, [None]),
        "complaints": tf.placeholder(tf.float32, [None]),
        "contract": tf.placeholder(tf.string, [None]),
    }
    label = tf.placeholder(tf.int64, [None])
    logits = inference(customer)
    loss = tf.losses.sparse_softmax_cross_entropy(label, logits)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), label), tf.float32))
    step = tf.train.get_or_create_global_step()
    train = tf.train.AdamOptimizer(FLAGS.learning_rate).minimize(loss, global_step=step)
    tf.summary.scalar("loss", loss)
    tf.summary.scalar("accuracy", accuracy)
    summaries = tf.summary.merge_all()
    saver = tf.train.Saver()
    checkpoints = os.path.join(FLAGS.train_url, "checkpoints")
    os.makedirs(checkpoints, exist_ok=True)

    columns, labels = read("train.csv")
    batches = tf.data.Dataset.from_tensor_slices((columns, labels)).shuffle(4000, seed=1)
    batch = tf.data.make_one_shot_iterator(batches.repeat().batch(100)).get_next()
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        if tf.train.latest_checkpoint(checkpoints):  # of a run that was cut short
            saver.restore(session, tf.train.latest_checkpoint(checkpoints))
        writer = tf.summary.FileWriter(FLAGS.train_url, session.graph)
        while (number := session.run(step)) < FLAGS.max_steps:
            values, answers = session.run(batch)
            feed = {customer[name]: values[name] for name in customer} | {label: answers}
            session.run(train, feed)
            if number % 100 == 0:
                summary, now = session.run([summaries, loss], feed)
                writer.add_summary(summary, number)
                saver.save(session, os.path.join(checkpoints, "model"), global_step=number)
                print(f"step {number}/{FLAGS.max_steps}: loss {now:.3f}")
        writer.close()

        columns, labels = read("test.csv")
        feed = {customer[name]: columns[name] for name in customer} | {label: labels}
        metrics = session.run({"loss": loss, "accuracy": accuracy}, feed)
        with open(os.path.join(FLAGS.train_url, "metrics.json"), "w") as file:
            json.dump({name: float(value) for name, value in metrics.items()}, file)
        export(session, customer, logits)


if __name__ == "__main__":
    tf.app.run()
