"""How `training.trainer` trains: the loop over the steps, and replicas that share each of them.

For the trainer alone; boot files import the trainer. Nothing here imports the agent.
"""
